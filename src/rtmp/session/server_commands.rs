//! The command dialogue of the server: every command real clients send, and its exact reply.
//!
//! General rules: the transaction id is echoed bit for bit; an unknown command with a transaction
//! id gets `_result` null null, because encoders call private functions and some wait for any
//! answer; names are compared without case (the seed's `CreateStream`).

use super::body::Body;
use super::event::{Event, PlayRequest, PublishKind};
use super::server::{Awaiting, ServerSession};
use super::streams::Use;
use crate::budget::Charge;
use crate::limits::{APP_BYTES_MAX, STREAM_NAME_BYTES_MAX, TC_URL_BYTES_MAX};
use crate::rtmp::amf0::{Object, Reader, Value};
use crate::rtmp::chunk::MessageHeader;
use crate::rtmp::message::command::{emit_call_failed, emit_result};
use crate::rtmp::message::control::{self, event};
use crate::rtmp::message::status::{Status, emit_fc, emit_status};
use crate::rtmp::{Msid, ProtocolError};
use crate::time::Millis;

type EventResult = Result<Option<Event<'static>>, ProtocolError>;

/// A parsed command up to its arguments.
struct Command<'a> {
    transaction: f64,
    msid: Msid,
    object: Option<Value<'a>>,
    arguments: Reader<'a>,
}

impl<'a> Command<'a> {
    /// The next argument; a malformed one counts as absent (commands may carry trailing garbage).
    fn argument(&mut self) -> Option<Value<'a>> {
        self.arguments.next().ok().flatten()
    }

    fn number(&mut self) -> Option<f64> {
        self.argument()?.number()
    }

    /// A name, cut where no name is longer. LIMIT: FCPublish and its kin echo it, and a command may
    /// carry 64 KiB.
    fn name(&mut self) -> &'a [u8] {
        let name = self.argument().and_then(|value| value.string()).unwrap_or_default();
        name.get(..STREAM_NAME_BYTES_MAX).unwrap_or(name)
    }

    fn has_transaction(&self) -> bool {
        self.transaction != 0.0
    }
}

impl ServerSession {
    pub(super) fn handle_command<'a>(
        &mut self,
        header: &MessageHeader,
        body: &Body<'a>,
        out: &mut Vec<u8>,
        now: Millis,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let mut reader = Reader::new(body);
        let Some(name) = reader.next()?.and_then(|value| value.string()) else { return Ok(None) };
        let name = name.to_ascii_lowercase();
        if matches!(name.as_slice(), b"@setdataframe" | b"onmetadata") {
            // QUIRK: a few encoders send their metadata as a command.
            return self.data_as_command(header, body);
        }
        let transaction = reader.next()?.and_then(|value| value.number()).unwrap_or(0.0);
        let object = reader.next()?;
        let mut command = Command { transaction, msid: header.msid, object, arguments: reader };
        self.last_command = now;
        if name == b"connect" {
            return self.connect(&command);
        }
        if !self.is_connected() {
            return Err(ProtocolError::CommandBeforeConnect);
        }
        match name.as_slice() {
            b"createstream" => self.create_stream(&command, out),
            b"publish" => return self.publish(&mut command, out),
            b"play" => return self.play(&mut command, out),
            b"play2" => return self.play2(&mut command, out),
            b"deletestream" => return Ok(self.delete_stream(&mut command, out)),
            b"closestream" => return Ok(self.close_stream(command.msid, out)),
            b"fcunpublish" => return Ok(self.fc_unpublish(&mut command, out)),
            b"pause" | b"pauseraw" => return Ok(self.pause(&mut command, out)),
            b"receiveaudio" => return Ok(self.receive(&mut command, true, out)),
            b"receivevideo" => return Ok(self.receive(&mut command, false, out)),
            b"seek" => self.seek(&mut command, out),
            b"disconnect" => return Ok(Some(Event::Disconnect)),
            name => self.answer_simple(name, &mut command, out),
        }
        Ok(None)
    }

    fn data_as_command<'a>(
        &mut self,
        header: &MessageHeader,
        body: &Body<'a>,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let Some(msid) = self.streams.in_use(header.msid, Use::Publishing) else {
            return Ok(None);
        };
        let body = match body {
            Body::Borrowed(bytes) => Body::Borrowed(bytes),
            Body::Owned(bytes, _) => {
                let mut charge = Charge::empty(&self.budget);
                charge.resize(bytes.len())?;
                Body::Owned(bytes.clone(), charge)
            }
        };
        Ok(Some(Event::Data { msid, timestamp: header.timestamp, body }))
    }

    fn connect(&mut self, command: &Command<'_>) -> EventResult {
        if self.is_connected() {
            return Err(ProtocolError::SecondConnect);
        }
        let object = match &command.object {
            Some(Value::Object(object)) => Some(*object),
            _ => None,
        };
        let text = |name: &str| {
            let value = object.as_ref().and_then(|object: &Object<'_>| object.find(name));
            value.and_then(|value| value.string()).unwrap_or_default()
        };
        let app = checked(text("app"), APP_BYTES_MAX)?.to_vec();
        let tc_url = match text("tcUrl") {
            [] => text("tcurl"),
            url => url,
        };
        let tc_url = checked(tc_url.trim_ascii(), TC_URL_BYTES_MAX)?;
        // QUIRK: quotes around the URL.
        let tc_url = tc_url.strip_prefix(b"'").unwrap_or(tc_url);
        let tc_url = tc_url.strip_suffix(b"'").unwrap_or(tc_url).to_vec();
        let number = |name| object.and_then(|object| object.find(name)?.number());
        let enhanced = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"];
        let has = |name: &&str| object.is_some_and(|object| object.find(name).is_some());
        self.awaiting = Some(Awaiting::Connect {
            transaction: command.transaction,
            object_encoding: number("objectEncoding").unwrap_or(0.0),
            is_enhanced: enhanced.iter().any(has),
        });
        Ok(Some(Event::Connect { app, tc_url }))
    }

    fn create_stream(&mut self, command: &Command<'_>, out: &mut Vec<u8>) {
        let chunk_size = self.chunk_size;
        let Some(msid) = self.streams.create() else {
            let text = "Too many message streams.";
            return emit_call_failed(command.transaction, text, chunk_size, out);
        };
        emit_result(command.transaction, chunk_size, out, |writer| {
            writer.number(f64::from(msid.0));
        });
    }

    fn publish(&mut self, command: &mut Command<'_>, out: &mut Vec<u8>) -> EventResult {
        let name = command.argument();
        if name.and_then(|name| name.boolean()) == Some(false) {
            return Ok(self.close_stream(command.msid, out));
        }
        let name = name.and_then(|name| name.string()).unwrap_or_default();
        let name = checked(name, STREAM_NAME_BYTES_MAX)?;
        let kind = match command.name() {
            b"record" => PublishKind::Record,
            b"append" | b"appendWithGap" => PublishKind::Append,
            _ => PublishKind::Live,
        };
        let Some(msid) = self.usable_stream(command.msid, out) else { return Ok(None) };
        self.awaiting = Some(Awaiting::Publish);
        let event = self.after_ending(msid, Event::Publish { msid, name: name.to_vec(), kind });
        self.streams.set_name(msid, name);
        Ok(Some(event))
    }

    fn play(&mut self, command: &mut Command<'_>, out: &mut Vec<u8>) -> EventResult {
        let name = command.argument();
        if name.and_then(|name| name.boolean()) == Some(false) {
            let playing = self.streams.in_use(command.msid, Use::Playing);
            return Ok(playing.map(|msid| self.end(msid)));
        }
        let name = name.and_then(|name| name.string()).unwrap_or_default();
        let name = checked(name, STREAM_NAME_BYTES_MAX)?.to_vec();
        let start = command.number().unwrap_or(-2000.0);
        let duration = command.number();
        let reset = command.argument().is_none_or(|value| {
            value.boolean().unwrap_or(value.number().is_none_or(|number| number != 0.0))
        });
        let request = PlayRequest { name, start, duration, reset };
        Ok(self.begin_play(command.msid, request, out))
    }

    fn play2(&mut self, command: &mut Command<'_>, out: &mut Vec<u8>) -> EventResult {
        let Some(Value::Object(options)) = command.argument() else { return Ok(None) };
        let name = options.find("streamName").and_then(|name| name.string()).unwrap_or_default();
        let name = checked(name, STREAM_NAME_BYTES_MAX)?.to_vec();
        let request = PlayRequest { name, start: -2000.0, duration: None, reset: true };
        Ok(self.begin_play(command.msid, request, out))
    }

    fn begin_play(
        &mut self,
        msid: Msid,
        request: PlayRequest,
        out: &mut Vec<u8>,
    ) -> Option<Event<'static>> {
        let msid = self.usable_stream(msid, out)?;
        self.awaiting = Some(Awaiting::Play { reset: request.reset });
        Some(self.after_ending(msid, Event::Play { msid, request }))
    }

    /// The stream that publish or play on `msid` means; an id that createStream never gives out is
    /// refused.
    fn usable_stream(&mut self, msid: Msid, out: &mut Vec<u8>) -> Option<Msid> {
        let usable = self.streams.usable(msid);
        if usable.is_none() {
            let text = b"No such message stream.";
            emit_status(msid, "error", "NetStream.Failed", text, self.chunk_size, out);
        }
        usable
    }

    /// `event`, or first the end of what the stream does now.
    fn after_ending(&mut self, msid: Msid, event: Event<'static>) -> Event<'static> {
        if self.streams.use_of(msid) == Use::Idle {
            return event;
        }
        self.queued = Some(Box::new(event));
        self.end(msid)
    }

    /// Makes a stream idle; the event that says so.
    fn end(&mut self, msid: Msid) -> Event<'static> {
        let used = self.streams.use_of(msid);
        self.streams.set_use(msid, Use::Idle);
        if used == Use::Publishing { Event::Unpublish { msid } } else { Event::StopPlay { msid } }
    }

    fn delete_stream(
        &mut self,
        command: &mut Command<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Event<'static>> {
        let argument = command.argument();
        let id = argument.and_then(|value| value.number());
        if let Some(msid) = id.and_then(|id| self.streams.numbered(id)) {
            let event = self.close_stream(msid, out);
            self.streams.delete(msid);
            return event;
        }
        // QUIRK: GStreamer passes the stream's name, on msid 0.
        let name = argument.and_then(|value| value.string()).unwrap_or_default();
        if let Some(msid) = self.streams.publishing(name) {
            return self.close_stream(msid, out);
        }
        let playing = self.streams.in_use(command.msid, Use::Playing);
        playing.filter(|_| id.is_none()).map(|msid| self.end(msid))
    }

    /// closeStream, or the end of whatever the connection publishes or plays if on msid 0.
    fn close_stream(&mut self, msid: Msid, out: &mut Vec<u8>) -> Option<Event<'static>> {
        if let Some(msid) = self.streams.in_use(msid, Use::Publishing) {
            self.emit_notice(msid, Status::UnpublishSuccess, out);
            return Some(self.end(msid));
        }
        self.streams.in_use(msid, Use::Playing).map(|msid| self.end(msid))
    }

    fn fc_unpublish(
        &mut self,
        command: &mut Command<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Event<'static>> {
        let name = command.name();
        let code = Status::UnpublishSuccess.code();
        emit_fc("onFCUnpublish", code, name, self.chunk_size, out);
        self.answer_undefined(command, out);
        let msid = self.streams.publishing(name)?;
        self.emit_notice(msid, Status::UnpublishSuccess, out);
        Some(self.end(msid))
    }

    fn pause(&mut self, command: &mut Command<'_>, out: &mut Vec<u8>) -> Option<Event<'static>> {
        let paused = command.argument().and_then(|value| value.boolean()).unwrap_or(true);
        let msid = self.streams.in_use(command.msid, Use::Playing)?;
        let chunk_size = self.chunk_size;
        if paused {
            let code = "NetStream.Pause.Notify";
            emit_status(msid, "status", code, b"Paused stream.", chunk_size, out);
            control::emit_event(event::STREAM_EOF, msid.0, out);
        } else {
            control::emit_event(event::STREAM_BEGIN, msid.0, out);
            let code = "NetStream.Unpause.Notify";
            emit_status(msid, "status", code, b"Unpaused stream.", chunk_size, out);
        }
        Some(Event::Pause { msid, paused })
    }

    fn receive(
        &mut self,
        command: &mut Command<'_>,
        is_audio: bool,
        out: &mut Vec<u8>,
    ) -> Option<Event<'static>> {
        let on = command.argument().and_then(|value| value.boolean()).unwrap_or(true);
        let msid = self.streams.in_use(command.msid, Use::Playing)?;
        if on {
            // SPEC: 7.2.2.4, 7.2.2.5.
            let chunk_size = self.chunk_size;
            emit_status(msid, "status", "NetStream.Seek.Notify", b"Seeking.", chunk_size, out);
            emit_status(msid, "status", "NetStream.Play.Start", b"Started.", chunk_size, out);
        }
        Some(match is_audio {
            true => Event::ReceiveAudio { msid, on },
            false => Event::ReceiveVideo { msid, on },
        })
    }

    /// Live streams cannot seek; ffmpeg hangs without the notification.
    fn seek(&mut self, command: &mut Command<'_>, out: &mut Vec<u8>) {
        let ms = command.number().unwrap_or(0.0);
        let Some(msid) = self.streams.in_use(command.msid, Use::Playing) else { return };
        let text = format!("Seeking {ms} (stream ID: {}).", msid.0);
        let code = "NetStream.Seek.Notify";
        emit_status(msid, "status", code, text.as_bytes(), self.chunk_size, out);
    }

    /// Commands that only want an answer.
    fn answer_simple(&mut self, name: &[u8], command: &mut Command<'_>, out: &mut Vec<u8>) {
        let chunk_size = self.chunk_size;
        match name {
            b"_result" | b"_error" | b"onstatus" => {}
            b"releasestream" => self.answer_undefined(command, out),
            b"fcpublish" => {
                // Appliances wait for this before they publish.
                self.answer_undefined(command, out);
                let code = "NetStream.Publish.Start";
                emit_fc("onFCPublish", code, command.name(), chunk_size, out);
            }
            b"fcsubscribe" => {
                self.answer_undefined(command, out);
                let code = "NetStream.Play.Start";
                emit_fc("onFCSubscribe", code, command.name(), chunk_size, out);
            }
            b"getstreamlength" if command.has_transaction() => {
                emit_result(command.transaction, chunk_size, out, |writer| {
                    writer.number(0.0);
                });
            }
            _ if !command.has_transaction() => {}
            name if name.contains(&b'.') && !name.starts_with(b"netstream.") => {
                emit_call_failed(command.transaction, "Method not found.", chunk_size, out);
            }
            _ => emit_result(command.transaction, chunk_size, out, |writer| {
                writer.null();
            }),
        }
    }

    fn answer_undefined(&self, command: &Command<'_>, out: &mut Vec<u8>) {
        if command.has_transaction() {
            emit_result(command.transaction, self.chunk_size, out, |writer| {
                writer.undefined();
            });
        }
    }
}

/// A name within its limit and without control characters.
fn checked(text: &[u8], max: usize) -> Result<&[u8], ProtocolError> {
    if text.len() > max || text.iter().any(u8::is_ascii_control) {
        return Err(ProtocolError::NameRefused);
    }
    Ok(text)
}

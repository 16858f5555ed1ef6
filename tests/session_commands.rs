//! Every command with its events and exact replies, whole, byte by byte and cut in two everywhere.
mod support;

use millrace::rtmp::session::ServerSession;
use support::session::{
    amf, call, connect, connected_peer, cuts, feed, raw, replies, status, values,
};

/// A dialogue: what happened before, the request, the events and the replies it causes.
struct Row {
    before: &'static [&'static str],
    request: &'static str,
    events: &'static [&'static str],
    replies: Vec<String>,
}

fn row(
    before: &'static [&'static str],
    request: &'static str,
    events: &'static [&'static str],
    replies: &[&str],
) -> Row {
    let replies = replies.iter().map(|reply| (*reply).to_string()).collect();
    Row { before, request, events, replies }
}

/// A session behind connect and the dialogue of `before`.
fn session_after(before: &[&str]) -> ServerSession {
    let mut session = connected_peer(60_000);
    let mut out = Vec::new();
    feed(&mut session, &connect("live"), &mut out).unwrap();
    for request in before {
        feed(&mut session, &call(request), &mut out).unwrap();
    }
    session
}

fn check(rows: &[Row]) {
    for Row { before, request, events, replies: expected } in rows {
        let bytes = call(request);
        for parts in cuts(&bytes) {
            let mut session = session_after(before);
            let (mut out, mut seen) = (Vec::new(), Vec::new());
            for part in &parts {
                seen.extend(feed(&mut session, part, &mut out).unwrap());
            }
            let name = format!("{request} after {before:?}, first part {}", parts[0].len());
            assert_eq!(seen, *events, "{name}");
            assert_eq!(replies(&out), *expected, "{name}");
        }
    }
}

#[test]
fn the_notation_of_these_tables_is_read_and_written() {
    for text in ["play 4 null s -2000", "a 0 {b=1,c=d} true undefined", "x -2.5"] {
        assert_eq!(values(&amf(text)), text);
    }
}

#[test]
fn commands_that_only_want_an_answer_get_it() {
    let failed = "{level=error,code=NetConnection.Call.Failed,description=Method not found.}";
    check(&[
        row(&[], "3/0 releaseStream 2 null s", &[], &["3/0/20 _result 2 null undefined"]),
        row(&[], "3/0 releaseStream 0 null s", &[], &[]),
        row(
            &[],
            "3/0 FCPublish 3 null s?k=v",
            &[],
            &[
                "3/0/20 _result 3 null undefined",
                "3/0/20 onFCPublish 0 null \
                 {level=status,code=NetStream.Publish.Start,description=s?k=v}",
            ],
        ),
        row(
            &[],
            "3/0 FCPublish 0 null s",
            &[],
            &["3/0/20 onFCPublish 0 null \
               {level=status,code=NetStream.Publish.Start,description=s}"],
        ),
        row(
            &[],
            "3/0 FCSubscribe 4 null s",
            &[],
            &[
                "3/0/20 _result 4 null undefined",
                "3/0/20 onFCSubscribe 0 null \
                 {level=status,code=NetStream.Play.Start,description=s}",
            ],
        ),
        row(&[], "3/0 FCUnsubscribe 5 null s", &[], &["3/0/20 _result 5 null null"]),
        row(&[], "8/0 getStreamLength 3 null s", &[], &["3/0/20 _result 3 null 0"]),
        row(&[], "8/0 getStreamLength 0 null s", &[], &[]),
        row(&[], "3/0 _checkbw 5 null", &[], &["3/0/20 _result 5 null null"]),
        row(&[], "3/0 checkBandwidth 6 null", &[], &["3/0/20 _result 6 null null"]),
        row(&[], "3/0 initStream 7 null", &[], &["3/0/20 _result 7 null null"]),
        row(&[], "3/0 setPeerInfo 8 null", &[], &["3/0/20 _result 8 null null"]),
        row(&[], "3/0 secret -2.5 null", &[], &["3/0/20 _result -2.5 null null"]),
        row(&[], "3/0 secret 0 null", &[], &[]),
        row(&[], "3/0 set_playlist 0 null {}", &[], &[]),
        row(&[], "3/0 chat.send 9 null", &[], &[&format!("3/0/20 _error 9 null {failed}")]),
        row(&[], "3/0 chat.send 0 null", &[], &[]),
        row(
            &[],
            "3/0 NetStream.Authenticate.UsherToken 4 null token",
            &[],
            &["3/0/20 _result 4 null null"],
        ),
        row(&[], "3/0 _result 1 null {}", &[], &[]),
        row(&[], "3/0 _error 1 null {}", &[], &[]),
        row(&[], "5/1 onStatus 0 null {}", &[], &[]),
        row(&[], "3/0 disconnect 0 null", &["Disconnect"], &[]),
    ]);
}

#[test]
fn a_name_that_is_echoed_is_cut_at_the_longest_name_there_is() {
    let (long, longest) = ("n".repeat(60_000), "n".repeat(1024));
    for name in ["FCPublish", "FCSubscribe", "FCUnpublish"] {
        let (mut session, mut out) = (connected_peer(128), Vec::new());
        feed(&mut session, &connect("live"), &mut Vec::new()).unwrap();
        feed(&mut session, &call(&format!("3/0 {name} 0 null {long}")), &mut out).unwrap();
        assert!(replies(&out)[0].ends_with(&format!("description={longest}}}")), "{name}");
        assert!(out.len() < 1200);
    }
}

#[test]
fn message_streams_are_made_in_any_spelling_and_form() {
    let result = |id: u32| format!("3/0/20 _result 2 null {id}");
    let too_many = "3/0/20 _error 2 null \
        {level=error,code=NetConnection.Call.Failed,description=Too many message streams.}";
    check(&[
        row(&[], "3/0 createStream 2 null", &[], &[&result(1)]),
        row(&[], "3/0 CreateStream 2 null", &[], &[&result(1)]),
        row(&[], "3/0/17 createStream 2 null", &[], &[&result(1)]),
        row(&["3/0 createStream 2 null"], "3/0 createStream 2 null", &[], &[&result(2)]),
        row(
            &["3/0 createStream 2 null", "3/0 createStream 2 null", "3/0 deleteStream 0 null 1"],
            "3/0 createStream 2 null",
            &[],
            &[&result(1)],
        ),
        row(&["3/0 createStream 2 null"; 15], "3/0 createStream 2 null", &[], &[&result(16)]),
        row(&["3/0 createStream 2 null"; 16], "3/0 createStream 2 null", &[], &[too_many]),
    ]);
}

#[test]
fn the_seventeenth_message_stream_is_refused_and_the_session_goes_on() {
    let mut session = session_after(&["3/0 createStream 2 null"; 17]);
    let mut out = Vec::new();
    let events = feed(&mut session, &call("8/16 publish 5 null s"), &mut out).unwrap();
    assert_eq!(events, ["publish 16 s Live"]);
    for (request, msid) in [("8/17 publish 5 null s", 17), ("8/4294967295 play 0 null s", u32::MAX)]
    {
        out.clear();
        assert!(feed(&mut session, &call(request), &mut out).unwrap().is_empty());
        let refused = status(msid, "error", "NetStream.Failed", "No such message stream.");
        assert_eq!(replies(&out), [refused]);
    }
}

#[test]
fn type_17_carries_a_selector_and_amf3_values() {
    let name = amf("createStream 2 null");
    let with_selector = raw(3, 0, 17, &[&[0], &name[..]].concat());
    // publish, transaction 5 as an AMF3 integer, AMF3 null, AMF3 string "s".
    let publish = [&amf("publish")[..], b"\x11\x04\x05", b"\x11\x01", b"\x11\x06\x03s"].concat();
    let publish = raw(8, 1, 17, &[&[0], &publish[..]].concat());
    for parts in cuts(&[with_selector, publish].concat()) {
        let mut session = session_after(&[]);
        let (mut out, mut events) = (Vec::new(), Vec::new());
        for part in parts {
            events.extend(feed(&mut session, part, &mut out).unwrap());
        }
        assert_eq!(events, ["publish 1 s Live"]);
        let text = "Started publishing stream.";
        let started = status(1, "status", "NetStream.Publish.Start", text);
        assert_eq!(replies(&out), ["3/0/20 _result 2 null 1", started.as_str()]);
    }
}

#[test]
fn publish_takes_every_form_that_encoders_send() {
    let started = |msid| {
        let text = "Started publishing stream.";
        status(msid, "status", "NetStream.Publish.Start", text)
    };
    let ended = |msid| {
        let text = "Stream is now unpublished.";
        status(msid, "status", "NetStream.Unpublish.Success", text)
    };
    let rows = [
        row(&[], "8/1 publish 5 null s live", &["publish 1 s Live"], &[&started(1)]),
        row(&[], "8/1 publish 5 null s record", &["publish 1 s Record"], &[&started(1)]),
        row(&[], "8/1 publish 5 null s append", &["publish 1 s Append"], &[&started(1)]),
        row(&[], "8/1 publish 5 null s appendWithGap", &["publish 1 s Append"], &[&started(1)]),
        row(&[], "8/1 publish 5 null s sideways", &["publish 1 s Live"], &[&started(1)]),
        row(&[], "3/1 publish 0 null s", &["publish 1 s Live"], &[&started(1)]),
        row(&[], "4/1 publish 5 null s?t=1", &["publish 1 s?t=1 Live"], &[&started(1)]),
        // Some encoders publish on msid 0.
        row(&[], "8/0 publish 5 null s live", &["publish 1 s Live"], &[&started(1)]),
        row(
            &["3/0 createStream 2 null"; 3],
            "8/3 publish 5 null s",
            &["publish 3 s Live"],
            &[&started(3)],
        ),
        row(
            &["8/1 publish 5 null s"],
            "8/1 publish 0 null false",
            &["Unpublish { msid: Msid(1) }"],
            &[&ended(1)],
        ),
        row(&[], "8/1 publish 0 null false", &[], &[]),
        // Another publish on the stream ends the first.
        row(
            &["8/1 publish 5 null s"],
            "8/1 publish 6 null t",
            &["Unpublish { msid: Msid(1) }", "publish 1 t Live"],
            &[&started(1)],
        ),
        row(
            &["8/1 play 5 null s"],
            "8/1 publish 6 null t",
            &["StopPlay { msid: Msid(1) }", "publish 1 t Live"],
            &[&started(1)],
        ),
    ];
    check(&rows);
}

#[test]
fn a_publisher_leaves_in_every_way() {
    const PUBLISHING: &[&str] = &["8/1 publish 5 null s?k=v live"];
    const BOTH: &[&str] = &["8/1 publish 5 null a", "8/2 publish 5 null b"];
    let ended = |msid| {
        let text = "Stream is now unpublished.";
        status(msid, "status", "NetStream.Unpublish.Success", text)
    };
    let on_fc = |name: &str| {
        format!(
            "3/0/20 onFCUnpublish 0 null \
             {{level=status,code=NetStream.Unpublish.Success,description={name}}}"
        )
    };
    const ONE: &[&str] = &["Unpublish { msid: Msid(1) }"];
    const TWO: &[&str] = &["Unpublish { msid: Msid(2) }"];
    check(&[
        row(
            PUBLISHING,
            "3/0 FCUnpublish 6 null s",
            ONE,
            &[&on_fc("s"), "3/0/20 _result 6 null undefined", &ended(1)],
        ),
        row(PUBLISHING, "3/0 FCUnpublish 0 null other", ONE, &[&on_fc("other"), &ended(1)]),
        row(PUBLISHING, "3/0 deleteStream 7 null 1", ONE, &[&ended(1)]),
        // GStreamer: the name, on msid 0.
        row(PUBLISHING, "3/0 deleteStream 0 null s", ONE, &[&ended(1)]),
        row(PUBLISHING, "3/0 deleteStream 0 null 9", ONE, &[&ended(1)]),
        row(PUBLISHING, "3/0 deleteStream 0 null", ONE, &[&ended(1)]),
        row(PUBLISHING, "3/0 closeStream 0 null s", ONE, &[&ended(1)]),
        row(PUBLISHING, "8/1 closeStream 0 null", ONE, &[&ended(1)]),
        row(PUBLISHING, "8/2 closeStream 0 null", &[], &[]),
        // With two of them the name decides.
        row(BOTH, "3/0 FCUnpublish 0 null b", TWO, &[&on_fc("b"), &ended(2)]),
        row(BOTH, "3/0 FCUnpublish 0 null c", &[], &[&on_fc("c")]),
        row(
            &["8/1 publish 5 null a", "8/2 publish 5 null b?k=v"],
            "3/0 FCUnpublish 0 null b",
            TWO,
            &[&on_fc("b"), &ended(2)],
        ),
        row(BOTH, "3/0 deleteStream 0 null b", TWO, &[&ended(2)]),
        row(BOTH, "3/0 deleteStream 0 null 2", TWO, &[&ended(2)]),
        row(BOTH, "8/2 closeStream 0 null", TWO, &[&ended(2)]),
        row(
            &[],
            "3/0 FCUnpublish 6 null s",
            &[],
            &[&on_fc("s"), "3/0/20 _result 6 null undefined"],
        ),
    ]);
}

fn playing(msid: u32, reset: bool) -> Vec<String> {
    let begin = format!("2/0/4 0000{msid:08x}");
    let code = "NetStream.Play.Reset";
    let reset = reset.then(|| status(msid, "status", code, "Playing and resetting stream."));
    let start = status(msid, "status", "NetStream.Play.Start", "Started playing stream.");
    let access = format!("5/{msid}/18 |RtmpSampleAccess true true");
    [Some(begin), reset, Some(start), Some(access)].into_iter().flatten().collect()
}

#[test]
fn play_takes_every_form_that_players_send() {
    let begun = |before, request, events, msid, reset| Row {
        before,
        request,
        events,
        replies: playing(msid, reset),
    };
    check(&[
        begun(&[], "8/1 play 4 null s -2000", &["play 1 s -2000"], 1, true),
        begun(&[], "8/1 play 4 null s -1000", &["play 1 s -1000"], 1, true),
        begun(&[], "8/1 play 3 null s 0", &["play 1 s 0"], 1, true),
        begun(&[], "3/1 play 0 null s -2", &["play 1 s -2"], 1, true),
        begun(&[], "8/1 play 0 null s", &["play 1 s -2000"], 1, true),
        begun(&[], "8/1 play 0 null s -2 -1 1", &["play 1 s -2"], 1, true),
        begun(&[], "8/1 play 0 null s -2 -1 true", &["play 1 s -2"], 1, true),
        begun(&[], "8/1 play 0 null s -2 -1 0", &["play 1 s -2"], 1, false),
        begun(&[], "8/1 play 0 null s -2 -1 false", &["play 1 s -2"], 1, false),
        begun(&[], "8/1 play 0 null ''", &["play 1  -2000"], 1, true),
        begun(&[], "8/0 play 0 null s", &["play 1 s -2000"], 1, true),
        begun(&[], "8/2 play 0 null s", &["play 2 s -2000"], 2, true),
        begun(&[], "8/1 play2 0 null {streamName=x,start=1}", &["play 1 x -2000"], 1, true),
        begun(
            &["8/1 play 0 null s"],
            "8/1 play 0 null t",
            &["StopPlay { msid: Msid(1) }", "play 1 t -2000"],
            1,
            true,
        ),
        begun(
            &["8/1 play 0 null s", "3/0 deleteStream 0 null 1"],
            "8/1 play 0 null t",
            &["play 1 t -2000"],
            1,
            true,
        ),
        begun(&["8/1 publish 0 null a"], "8/2 play 0 null s", &["play 2 s -2000"], 2, true),
    ]);
    check(&[
        row(&["8/1 play 0 null s"], "8/1 play 0 null false", &["StopPlay { msid: Msid(1) }"], &[]),
        row(&[], "8/1 play 0 null false", &[], &[]),
        row(&[], "8/1 play2 0 null null", &[], &[]),
    ]);
}

#[test]
fn a_player_pauses_seeks_chooses_and_leaves() {
    const PLAYING: &[&str] = &["8/1 play 0 null s"];
    const STOP: &[&str] = &["StopPlay { msid: Msid(1) }"];
    let told = |code: &str, text: &str| status(1, "status", code, text);
    let paused = told("NetStream.Pause.Notify", "Paused stream.");
    let unpaused = told("NetStream.Unpause.Notify", "Unpaused stream.");
    let seeking = told("NetStream.Seek.Notify", "Seeking 5870 (stream ID: 1).");
    let again =
        [told("NetStream.Seek.Notify", "Seeking."), told("NetStream.Play.Start", "Started.")];
    let (eof, begin) = ("2/0/4 000100000001", "2/0/4 000000000001");
    check(&[
        // librtmp sends these on msid 0.
        row(
            PLAYING,
            "8/0 pause 0 null true 9",
            &["Pause { msid: Msid(1), paused: true }"],
            &[&paused, eof],
        ),
        row(
            PLAYING,
            "8/1 pauseRaw 0 null true 9",
            &["Pause { msid: Msid(1), paused: true }"],
            &[&paused, eof],
        ),
        row(
            PLAYING,
            "8/1 pause 0 null false 9",
            &["Pause { msid: Msid(1), paused: false }"],
            &[begin, &unpaused],
        ),
        row(&[], "8/1 pause 0 null true 9", &[], &[]),
        row(PLAYING, "8/0 seek 0 null 5870", &[], &[&seeking]),
        row(&[], "8/0 seek 0 null 5870", &[], &[]),
        row(
            PLAYING,
            "8/1 receiveVideo 0 null false",
            &["ReceiveVideo { msid: Msid(1), on: false }"],
            &[],
        ),
        row(
            PLAYING,
            "8/1 receiveAudio 0 null false",
            &["ReceiveAudio { msid: Msid(1), on: false }"],
            &[],
        ),
        row(
            PLAYING,
            "8/1 receiveVideo 0 null true",
            &["ReceiveVideo { msid: Msid(1), on: true }"],
            &[&again[0], &again[1]],
        ),
        row(&[], "8/1 receiveVideo 0 null true", &[], &[]),
        row(PLAYING, "8/1 closeStream 0 null", STOP, &[]),
        row(PLAYING, "3/0 deleteStream 0 null 1", STOP, &[]),
        row(PLAYING, "3/0 deleteStream 0 null s", STOP, &[]),
        row(PLAYING, "3/0 deleteStream 0 null 2", &[], &[]),
    ]);
}

#[test]
fn media_belong_to_the_publishing_stream_and_others_are_dropped() {
    let mut session = session_after(&["8/1 publish 5 null s", "8/2 play 5 null t"]);
    let mut out = Vec::new();
    let mut tell = |bytes: Vec<u8>| feed(&mut session, &bytes, &mut out).unwrap();
    assert_eq!(tell(raw(6, 1, 9, &[0x17, 1, 0, 0, 0])), ["Video 0"]);
    // The node-media-server relay sends media on msid 0.
    assert_eq!(tell(raw(4, 0, 8, &[0xaf, 1, 0])), ["Audio 0"]);
    assert!(tell(raw(4, 2, 8, &[0xaf, 1, 0])).is_empty(), "a playing stream sends nothing");
    assert!(tell(raw(4, 3, 18, &amf("onMetaData {a=1}"))).is_empty());
    // Metadata of type 18, of type 15 with and without selector, and as a command.
    let metadata = amf("onMetaData {a=1}");
    let bytes = format!("data 0 {} bytes", metadata.len());
    assert_eq!(tell(raw(4, 1, 18, &metadata)), [bytes.as_str()]);
    assert_eq!(tell(raw(4, 1, 15, &metadata)), [bytes.as_str()]);
    assert_eq!(tell(raw(4, 1, 15, &[&[0], &metadata[..]].concat())), [bytes.as_str()]);
    assert_eq!(tell(raw(4, 1, 20, &metadata)), [bytes.as_str()]);
    assert_eq!(tell(raw(4, 0, 20, &amf("@setDataFrame onMetaData {a=1}"))).len(), 1);
    assert_eq!(tell(raw(4, 1, 22, &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11])), ["aggregate"]);
    assert!(out.is_empty(), "media have no replies");
}

#[test]
fn a_data_message_that_its_stream_does_not_outlive_is_forgotten() {
    let mut session = session_after(&["8/1 publish 5 null s"]);
    let long = amf(&format!("onMetaData {{a={}}}", "x".repeat(200)));
    let message = raw(4, 1, 18, &long);
    let (begun, rest) = message.split_at(12 + 128);
    let mut tell = |bytes: &[u8]| feed(&mut session, bytes, &mut Vec::new()).unwrap();
    assert!(tell(begun).is_empty());
    assert_eq!(tell(&call("3/0 FCUnpublish 6 null s")), ["Unpublish { msid: Msid(1) }"]);
    assert!(tell(rest).is_empty());
    assert_eq!(tell(&call("8/1 publish 7 null s")), ["publish 1 s Live"]);
    assert_eq!(tell(&message), [format!("data 0 {} bytes", long.len())]);
    assert_eq!(session.partial_bytes(), 0);
}

#[test]
fn unknown_messages_and_trailing_garbage_are_read_and_dropped() {
    let mut session = session_after(&[]);
    let mut out = Vec::new();
    for kind in [0, 7, 10, 16, 19, 21, 23, 99, 255] {
        assert!(feed(&mut session, &raw(7, 0, kind, b"whatever"), &mut out).unwrap().is_empty());
    }
    assert!(feed(&mut session, &raw(3, 0, 20, &[]), &mut out).unwrap().is_empty());
    assert!(feed(&mut session, &raw(3, 0, 20, &amf("5 null")), &mut out).unwrap().is_empty());
    assert!(out.is_empty());
    let garbage = raw(3, 0, 20, &[&amf("createStream 2 null")[..], &[4, 4, 4]].concat());
    feed(&mut session, &garbage, &mut out).unwrap();
    let not_a_number = [&amf("secret")[..], &[0], &f64::NAN.to_bits().to_be_bytes()].concat();
    feed(&mut session, &raw(3, 0, 20, &not_a_number), &mut out).unwrap();
    assert_eq!(replies(&out), ["3/0/20 _result 2 null 1", "3/0/20 _result NaN null null"]);
}

//! The server session: the seed's dialogue byte for byte, connect in every form, captured clients.
mod support;

use millrace::budget::Budget;
use millrace::rtmp::session::{Event, ServerSession, Status};
use millrace::time::Millis;
use support::session::{
    call, command, config, connect, connected_peer, cuts, feed, raw, replies, status,
};
use support::{hex, vectors};

/// The seed's connect result with our `fmsVer`: another length, the same one `c3` behind 128 bytes.
fn with_our_version(seed: &[u8]) -> Vec<u8> {
    assert_eq!(seed[12 + 128], 0xC3, "the seed puts one type-3 header behind 128 bytes");
    let body = [&seed[12..140], &seed[141..]].concat();
    let (theirs, ours) = (b"\x00\x11RubyIZUMI/0,1,2,0", b"\x00\x0eFMS/3,5,7,7009");
    let at = body.windows(theirs.len()).position(|window| window == theirs).unwrap();
    let body = [&body[..at], ours, &body[at + theirs.len()..]].concat();
    let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
    let header = [&seed[..4], &[0, high, low], &seed[7..12]].concat();
    [&header[..], &body[..128], &[0xC3], &body[128..]].concat()
}

/// The whole dialogue of the seed note with `--chunk-size 128`. Documented additions: Stream Begin 0
/// before the result (RTMP 1.0, 7.2.1.1), Play.Reset and RtmpSampleAccess around Play.Start.
#[test]
fn the_seed_session_is_played_byte_for_byte() {
    let file = vectors("seed_session.json");
    let bytes = |list: &str, name: &str| {
        let steps = file[list].as_array().unwrap();
        let step = steps.iter().find(|step| step["name"] == name).unwrap();
        hex(step["wire"].as_str().unwrap())
    };
    let play_reply = ["stream_begin_1", "play_reset", "play_start", "sample_access"];
    let play_reply: Vec<u8> =
        play_reply.iter().flat_map(|name| bytes("recommended_play_reply", name)).collect();
    let stream_begin_0 = hex("020000000000060400000000000000000000");
    let buffer_length = bytes("client_examples", "set_buffer_length_1_0");
    let dialogue: [(Vec<u8>, Vec<Vec<u8>>, &[&str]); 7] = [
        (
            connect(""),
            vec![
                bytes("steps", "server_bw"),
                bytes("steps", "client_bw"),
                stream_begin_0,
                with_our_version(&bytes("steps", "connect_result")),
            ],
            &["connect "],
        ),
        (
            bytes("client_examples", "createStream_tid2"),
            vec![bytes("steps", "createStream_result")],
            &[],
        ),
        (buffer_length.clone(), vec![], &[]),
        (
            bytes("client_examples", "play_test_mp4_csid8_msid1"),
            vec![play_reply.clone()],
            &["play 1 test.mp4 -2000"],
        ),
        (buffer_length, vec![], &[]),
        (
            call("8/1 play 0 null red5StreamDemo_video"),
            vec![play_reply.clone()],
            &["StopPlay { msid: Msid(1) }", "play 1 red5StreamDemo_video -2000"],
        ),
        (
            call("8/1 play 0 null red5StreamDemo_video -1"),
            vec![play_reply],
            &["StopPlay { msid: Msid(1) }", "play 1 red5StreamDemo_video -1"],
        ),
    ];
    let mut session = connected_peer(128);
    for (request, replies, events) in &dialogue {
        let mut out = Vec::new();
        assert_eq!(feed(&mut session, request, &mut out).unwrap(), *events);
        assert_eq!(out, replies.concat(), "{events:?}");
    }
    let whole: Vec<u8> = dialogue.iter().flat_map(|(request, ..)| request.clone()).collect();
    let expected: Vec<u8> = dialogue.iter().flat_map(|(_, replies, _)| replies.concat()).collect();
    for parts in cuts(&whole) {
        let (mut session, mut out) = (connected_peer(128), Vec::new());
        for part in parts {
            feed(&mut session, part, &mut out).unwrap();
        }
        assert_eq!(out, expected);
    }
}

#[test]
fn everything_of_the_seed_may_come_in_one_segment_with_a_signed_handshake() {
    let file = vectors("handshake.json");
    let cases = file["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == "digest_schema1").unwrap();
    let hello = [case["c0c1"].as_str().unwrap(), case["c2"].as_str().unwrap()].concat();
    let pipelined = [hex(&hello), connect(""), call("3/0 CreateStream 2 null")].concat();
    let mut session = ServerSession::new(config(128), Budget::new(1 << 24), Millis(0));
    let mut out = Vec::new();
    assert_eq!(feed(&mut session, &pipelined, &mut out).unwrap(), ["connect "]);
    assert_eq!(out[0], 3);
    assert!(out[1537..3073] != hex(case["c0c1"].as_str().unwrap())[1..], "S2 is not C1 again");
    assert_eq!(replies(&out[3073..]).last().unwrap(), "3/0/20 _result 2 null 1");
}

#[test]
fn connect_announces_the_chunk_size_before_the_result() {
    let mut session = connected_peer(60_000);
    let mut out = Vec::new();
    feed(&mut session, &connect("live"), &mut out).unwrap();
    assert_eq!(
        replies(&out),
        [
            "2/0/5 002625a0",
            "2/0/6 002625a002",
            "2/0/1 0000ea60",
            "2/0/4 000000000000",
            "3/0/20 _result 1 {capabilities=31,fmsVer=FMS/3,5,7,7009} \
             {code=NetConnection.Connect.Success,level=status,description=Connection succeeded.}",
        ]
    );
}

#[test]
fn capabilities_are_announced_to_clients_that_ask() {
    let mut session = connected_peer(60_000);
    let mut out = Vec::new();
    let request = command(3, 0, |w| {
        w.string(b"connect").number(7.5).object().text("app", b"live");
        w.key(b"capsEx").number(15.0).key(b"objectEncoding").number(3.0).end();
    });
    feed(&mut session, &request, &mut out).unwrap();
    let reply = replies(&out).pop().unwrap();
    assert!(reply.starts_with("3/0/20 _result 7.5 {capabilities=31,"), "{reply}");
    assert!(reply.contains("videoFourCcInfoMap={*=4}"), "{reply}");
    assert!(reply.contains("capsEx=14"), "no ReconnectRequest: {reply}");
    assert!(reply.ends_with(",objectEncoding=3}"), "{reply}");
}

#[test]
fn captured_clients_get_through_to_their_media_at_any_fragmentation() {
    let file = vectors("captured.json");
    for case in file["cases"].as_array().unwrap() {
        let stream = hex(case["after_handshake"].as_str().unwrap());
        let mut whole = Vec::new();
        let events = feed(&mut connected_peer(60_000), &stream, &mut whole).unwrap();
        assert!(events[0].starts_with("connect live"), "{}: {events:?}", case["name"]);
        let starts = |event: &String| event.starts_with("publish") || event.starts_with("play");
        assert!(events.iter().any(starts), "{}: {events:?}", case["name"]);
        for step in [1, 2, 3, 7, 100, 129, 1000] {
            let mut session = connected_peer(60_000);
            let mut out = Vec::new();
            let mut pieces = Vec::new();
            for part in stream.chunks(step) {
                pieces.extend(feed(&mut session, part, &mut out).unwrap());
            }
            assert_eq!(pieces, events, "{} by {step}", case["name"]);
            assert_eq!(out, whole, "{} by {step}", case["name"]);
        }
    }
}

#[test]
fn while_an_answer_is_missing_no_input_is_consumed() {
    let mut session = connected_peer(128);
    let stream = [connect("live"), raw(2, 0, 4, &hex("000600000d0f"))].concat();
    let mut input = &stream[..];
    let mut out = Vec::new();
    assert!(session.handle_input(&mut input, &mut out, Millis(0)).unwrap().is_some());
    let left = input.len();
    assert!(left > 0);
    assert!(session.handle_input(&mut input, &mut out, Millis(0)).unwrap().is_none());
    assert_eq!(input.len(), left);
    session.reject_connect(Status::ConnectInvalidApp, "No such app.", &mut out);
    assert!(replies(&out)[0].contains("NetConnection.Connect.InvalidApp"));
}

#[test]
fn an_idle_session_is_small() {
    let size = size_of::<ServerSession>();
    assert!(size <= 512, "{size} bytes");
}

#[test]
fn connect_accepts_what_real_clients_send() {
    let accepted: &[(&str, &str)] = &[
        // Flash may send an empty app; others send none, other transaction ids, more values.
        ("connect 1 {app='',flashVer=WIN}", ""),
        ("connect 1 {}", ""),
        ("connect 1 null", ""),
        ("connect 1", ""),
        ("connect 7 {app=live/,tcUrl=rtmp://h/live/}", "live/"),
        ("connect 1 {app=live?k=v,tcurl='rtmp://h/live'}", "live?k=v"),
        ("connect 1 {app=live/_definst_,fpad=0,encoding=0}", "live/_definst_"),
        ("connect 1 {app=live,tcUrl=undefined,swfUrl=null} {srs_sig=x} 5", "live"),
        ("CONNECT 1 {app=live}", "live"),
    ];
    for (request, app) in accepted {
        let request = [&b""[..], &call(&format!("3/0 {request}"))].concat();
        for parts in cuts(&request) {
            let (mut session, mut out) = (connected_peer(60_000), Vec::new());
            let events: Vec<String> =
                parts.iter().flat_map(|part| feed(&mut session, part, &mut out).unwrap()).collect();
            assert_eq!(events, [format!("connect {app}")]);
            assert!(session.is_connected());
        }
    }
}

#[test]
fn the_url_of_connect_is_cleaned_of_quotes_and_found_in_lower_case() {
    for name in ["tcUrl", "tcurl"] {
        let request = command(3, 0, |w| {
            w.string(b"connect").number(1.0).object().text("app", b"live");
            w.text(name, b" 'rtmp://h/live' ").end();
        });
        let mut session = connected_peer(60_000);
        let event = session.handle_input(&mut &request[..], &mut Vec::new(), Millis(0)).unwrap();
        let Some(Event::Connect { app, tc_url }) = event else { panic!("{event:?}") };
        assert_eq!((&app[..], &tc_url[..]), (&b"live"[..], &b"rtmp://h/live"[..]));
    }
}

#[test]
fn refusals_name_their_code_on_csid_3_or_on_the_stream() {
    let codes = [
        (Status::ConnectRejected, "NetConnection.Connect.Rejected"),
        (Status::ConnectInvalidApp, "NetConnection.Connect.InvalidApp"),
        (Status::ConnectAppShutdown, "NetConnection.Connect.AppShutdown"),
    ];
    for (code, text) in codes {
        let (mut session, mut out) = (connected_peer(60_000), Vec::new());
        let request = call("3/0 connect 4 {app=x}");
        assert!(session.handle_input(&mut &request[..], &mut out, Millis(0)).unwrap().is_some());
        session.reject_connect(code, "No.", &mut out);
        let refused = format!("3/0/20 _error 4 null {{level=error,code={text},description=No.}}");
        assert_eq!(replies(&out), [refused]);
        assert!(!session.is_connected());
    }
    for (publishes, code, text) in [
        (true, Status::PublishBadName, "NetStream.Publish.BadName"),
        (true, Status::PublishRejected, "NetStream.Publish.Rejected"),
        (false, Status::PlayStreamNotFound, "NetStream.Play.StreamNotFound"),
        (false, Status::PlayFailed, "NetStream.Play.Failed"),
    ] {
        let (mut session, mut out) = (connected_peer(60_000), Vec::new());
        feed(&mut session, &connect("live"), &mut out).unwrap();
        out.clear();
        let request = call(if publishes { "8/2 publish 5 null s" } else { "8/2 play 5 null s" });
        let event = session.handle_input(&mut &request[..], &mut out, Millis(0)).unwrap();
        match event.unwrap() {
            Event::Publish { msid, .. } => session.reject_publish(msid, code, "No.", &mut out),
            Event::Play { msid, .. } => session.reject_play(msid, code, "No.", &mut out),
            other => panic!("{other:?}"),
        }
        assert_eq!(replies(&out), [status(2, "error", text, "No.")]);
        assert!(!session.is_active(), "the stream is idle again");
        let again = feed(&mut session, &call("8/2 publish 5 null t"), &mut out).unwrap();
        assert_eq!(again, ["publish 2 t Live"], "and may be used");
    }
}

#[test]
fn notices_come_in_the_order_players_need() {
    let told = |notice: Status| {
        let (mut session, mut out) = (connected_peer(60_000), Vec::new());
        feed(&mut session, &[connect("live"), call("8/1 play 0 null s")].concat(), &mut out)
            .unwrap();
        out.clear();
        session.notify(millrace::rtmp::Msid(1), notice, &mut out, Millis(1));
        (replies(&out), session.is_active())
    };
    let say = |code: &str, text: &str| status(1, "status", code, text);
    let (begin, eof) = ("2/0/4 000000000001", "2/0/4 000100000001");
    let published = say("NetStream.Play.PublishNotify", "Stream is now published.");
    assert_eq!(told(Status::PlayPublishNotify), (vec![begin.into(), published], true));
    let unpublished = say("NetStream.Play.UnpublishNotify", "Stream is now unpublished.");
    assert_eq!(told(Status::PlayUnpublishNotify), (vec![eof.into(), unpublished], false));
    let complete = "5/1/18 onPlayStatus {level=status,code=NetStream.Play.Complete}";
    let stop = say("NetStream.Play.Stop", "Stopped playing stream.");
    assert_eq!(told(Status::PlayStop), (vec![eof.into(), complete.into(), stop], false));
}

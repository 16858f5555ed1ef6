//! What real clients send, in their order, as seen on the wire: each gets through to its media.
//!
//! Captured bytes of six of them are in `tests/session.rs`; these are the dialogues of the others,
//! and what is peculiar to each.
mod support;

use support::session::{call, connected_peer, cuts, feed, raw, replies};

/// A client: its name, what it sends, what the server is told, the commands it gets answered.
struct Dialogue {
    client: &'static str,
    sends: Vec<Vec<u8>>,
    events: &'static [&'static str],
    answers: &'static [&'static str],
}

const CHUNK_SIZE_4096: [u8; 4] = [0, 0, 16, 0];
const WINDOW: [u8; 4] = [0, 0x26, 0x25, 0xA0];

fn buffer_length(msid: u8, ms: u32) -> Vec<u8> {
    raw(2, 0, 4, &[&[0, 3, 0, 0, 0, msid][..], &ms.to_be_bytes()].concat())
}

fn video(csid: u32, msid: u32) -> Vec<u8> {
    raw(csid, msid, 9, &[0x17, 1, 0, 0, 0, 9])
}

fn audio(csid: u32, msid: u32) -> Vec<u8> {
    raw(csid, msid, 8, &[0xAF, 1, 9])
}

/// The answers in short: name and transaction, or what onStatus says.
fn short(reply: &str) -> String {
    let text = reply.split_once(' ').unwrap().1;
    match text.split_once("code=") {
        Some((_, code)) if text.starts_with("on") => code.split(',').next().unwrap().into(),
        _ => text.split(' ').take(2).collect::<Vec<_>>().join(" "),
    }
}

fn check(dialogues: &[Dialogue]) {
    for Dialogue { client, sends, events, answers } in dialogues {
        let stream = sends.concat();
        for parts in cuts(&stream) {
            let (mut session, mut out, mut seen) = (connected_peer(60_000), Vec::new(), Vec::new());
            for part in parts {
                seen.extend(feed(&mut session, part, &mut out).unwrap());
            }
            assert_eq!(seen, *events, "{client}");
            let commands = replies(&out).into_iter().filter(|reply| reply.contains("/20 "));
            assert_eq!(
                commands.map(|reply| short(&reply)).collect::<Vec<_>>(),
                *answers,
                "{client}"
            );
        }
    }
}

#[test]
fn publishers_of_every_kind_get_through() {
    check(&[
        Dialogue {
            client: "OBS 29: chunk size before connect, everything on csid 4",
            sends: vec![
                raw(2, 0, 1, &CHUNK_SIZE_4096),
                call("3/0 connect 1 {app=live,type=nonprivate,supportsGoAway=true,swfUrl=u}"),
                call("3/0 releaseStream 2 null key"),
                call("3/0 FCPublish 3 null key"),
                call("3/0 createStream 4 null"),
                call("4/1 publish 5 null key live"),
                call("4/1/18 @setDataFrame onMetaData {encoder=obs,2.1=false}"),
                audio(4, 1),
                video(4, 1),
                call("3/0 FCUnpublish 6 null key"),
                call("3/0 deleteStream 7 null 1"),
            ],
            events: &[
                "connect live",
                "publish 1 key Live",
                "data 0 55 bytes",
                "Audio 0",
                "Video 0",
                "Unpublish { msid: Msid(1) }",
            ],
            answers: &[
                "_result 1",
                "_result 2",
                "_result 3",
                "NetStream.Publish.Start",
                "_result 4",
                "NetStream.Publish.Start",
                "NetStream.Unpublish.Success",
                "_result 6",
                "NetStream.Unpublish.Success",
            ],
        },
        Dialogue {
            client: "rtmp2sink: transaction 0 everywhere, deleteStream by name",
            sends: vec![
                call("3/0 connect 1 {app=live,type=nonprivate}"),
                raw(2, 0, 5, &WINDOW),
                call("3/0 releaseStream 0 null s"),
                call("3/0 FCPublish 0 null s"),
                call("3/0 createStream 2 null"),
                call("3/1 publish 0 null s live"),
                raw(2, 0, 1, &[0, 0, 0, 128]),
                call("4/1/18 @setDataFrame onMetaData {a=1}"),
                call("4/1/18 @setDataFrame onMetaData {a=2}"),
                audio(5, 1),
                video(6, 1),
                call("3/0 FCUnpublish 0 null s"),
                call("3/0 deleteStream 0 null s"),
            ],
            events: &[
                "connect live",
                "publish 1 s Live",
                "data 0 45 bytes",
                "data 0 45 bytes",
                "Audio 0",
                "Video 0",
                "Unpublish { msid: Msid(1) }",
            ],
            answers: &[
                "_result 1",
                "NetStream.Publish.Start",
                "_result 2",
                "NetStream.Publish.Start",
                "NetStream.Unpublish.Success",
                "NetStream.Unpublish.Success",
            ],
        },
        Dialogue {
            client: "node-media-server relay: media on msid 0, chunk size after publish",
            sends: vec![
                call("3/0 connect 1 {app=live,fpad=0,encoding=0}"),
                call("3/0 releaseStream 0 null s"),
                call("3/0 FCPublish 0 null s"),
                call("3/0 createStream 2 null"),
                call("3/1 publish 0 null s live"),
                raw(2, 0, 1, &CHUNK_SIZE_4096),
                audio(5, 0),
                video(6, 0),
            ],
            events: &["connect live", "publish 1 s Live", "Audio 0", "Video 0"],
            answers: &[
                "_result 1",
                "NetStream.Publish.Start",
                "_result 2",
                "NetStream.Publish.Start",
            ],
        },
        Dialogue {
            client: "nginx-rtmp push: controls before connect, Stream Begin of the client, bare onMetaData",
            sends: vec![
                raw(2, 0, 1, &CHUNK_SIZE_4096),
                raw(2, 0, 5, &WINDOW),
                call("3/0 connect 1 {app=live,pageUrl='',swfUrl=''}"),
                call("3/0 createStream 2 null"),
                call("3/1 publish 0 null s live"),
                raw(2, 0, 4, &[0, 0, 0, 0, 0, 1]),
                call("5/1/18 onMetaData {a=1}"),
                video(7, 1),
            ],
            events: &["connect live", "publish 1 s Live", "data 0 29 bytes", "Video 0"],
            answers: &["_result 1", "_result 2", "NetStream.Publish.Start"],
        },
        Dialogue {
            client: "SRS forward: a third value in connect",
            sends: vec![
                call("3/0 connect 1 {app=live,tcUrl=rtmp://v/live} {srs_sig=x,srs_id=1}"),
                call("3/0 createStream 2 null"),
                raw(2, 0, 1, &[0, 0, 0xEA, 0x60]),
                call("5/1 publish 0 null s live"),
                video(6, 1),
            ],
            events: &["connect live", "publish 1 s Live", "Video 0"],
            answers: &["_result 1", "_result 2", "NetStream.Publish.Start"],
        },
        Dialogue {
            client: "FMLE, Haivision: any order, waiting for FCPublish",
            sends: vec![
                call("3/0 connect 1 {app=live}"),
                call("3/0 createStream 2 null"),
                call("3/0 FCPublish 3 null s"),
                call("3/0 _checkbw 4 null"),
                call("8/1 publish 0 null s live"),
                video(6, 1),
            ],
            events: &["connect live", "publish 1 s Live", "Video 0"],
            answers: &[
                "_result 1",
                "_result 2",
                "_result 3",
                "NetStream.Publish.Start",
                "_result 4",
                "NetStream.Publish.Start",
            ],
        },
        Dialogue {
            client: "DJI: its own Set Peer Bandwidth, no createStream, publish on msid 0",
            sends: vec![
                call("3/0 connect 1 {app=live}"),
                raw(2, 0, 6, &[0, 0x4C, 0x4B, 0x40, 2]),
                call("3/0 publish 5 null s live"),
                video(6, 1),
            ],
            events: &["connect live", "publish 1 s Live", "Video 0"],
            answers: &["_result 1", "NetStream.Publish.Start"],
        },
    ]);
}

#[test]
fn players_of_every_kind_get_through() {
    const PLAYS: &[&str] = &["NetStream.Play.Reset", "NetStream.Play.Start"];
    let answers =
        |first: &[&'static str]| [first, PLAYS].concat().leak() as &'static [&'static str];
    check(&[
        Dialogue {
            client: "ffmpeg -rtmp_live live",
            sends: vec![
                call("3/0 connect 1 {app=live,fpad=false,capabilities=15}"),
                raw(2, 0, 5, &WINDOW),
                call("3/0 createStream 2 null"),
                call("3/0 FCSubscribe 3 null s"),
                call("8/1 play 4 null s -1000"),
                buffer_length(1, 3000),
                call("3/0 deleteStream 5 null 1"),
            ],
            events: &["connect live", "play 1 s -1000", "StopPlay { msid: Msid(1) }"],
            answers: answers(&["_result 1", "_result 2", "_result 3", "NetStream.Play.Start"]),
        },
        Dialogue {
            client: "rtmpdump: start 0, a buffer of ten hours",
            sends: vec![
                call("3/0 connect 1 {app=live}"),
                raw(2, 0, 5, &WINDOW),
                buffer_length(0, 300),
                call("3/0 createStream 2 null"),
                call("8/1 play 3 null s 0"),
                buffer_length(1, 36_000_000),
                raw(2, 0, 3, &[0, 7, 0xA1, 0x20]),
            ],
            events: &["connect live", "play 1 s 0"],
            answers: answers(&["_result 1", "_result 2"]),
        },
        Dialogue {
            client: "nginx pull: controls before connect, a duration",
            sends: vec![
                raw(2, 0, 1, &CHUNK_SIZE_4096),
                raw(2, 0, 5, &WINDOW),
                call("3/0 connect 1 {app=live}"),
                call("3/0 createStream 2 null"),
                call("8/1 play 0 null s -2000 -1000"),
                buffer_length(1, 5000),
            ],
            events: &["connect live", "play 1 s -2000"],
            answers: answers(&["_result 1", "_result 2"]),
        },
        Dialogue {
            client: "SRS edge: the name only, a chunk size after play",
            sends: vec![
                call("3/0 connect 1 {app=live} {srs_sig=x}"),
                call("3/0 createStream 2 null"),
                call("5/1 play 0 null s?vhost=v"),
                buffer_length(1, 1000),
                raw(2, 0, 1, &[0, 0, 0xEA, 0x60]),
            ],
            events: &["connect live", "play 1 s?vhost=v -2000"],
            answers: answers(&["_result 1", "_result 2"]),
        },
        Dialogue {
            client: "jwplayer: closeStream as a pause, then play again; play before createStream is seen",
            sends: vec![
                call("3/0 connect 1 {app=live,objectEncoding=3}"),
                call("3/0/17 createStream 2 null"),
                call("8/1/17 play 0 null s"),
                call("8/1/17 closeStream 0 null"),
                call("8/1/17 play 0 null s"),
            ],
            events: &[
                "connect live",
                "play 1 s -2000",
                "StopPlay { msid: Msid(1) }",
                "play 1 s -2000",
            ],
            answers: answers(&["_result 1", "_result 2", PLAYS[0], PLAYS[1]]),
        },
        Dialogue {
            client: "two streams of one connection, publishing and playing at once",
            sends: vec![
                call("3/0 connect 1 {app=live}"),
                call("3/0 createStream 2 null"),
                call("3/0 createStream 3 null"),
                call("8/1 publish 0 null a live"),
                call("8/2 play 0 null b"),
                video(6, 1),
                video(7, 2),
                call("3/0 deleteStream 0 null 2"),
                video(6, 1),
            ],
            events: &[
                "connect live",
                "publish 1 a Live",
                "play 2 b -2000",
                "Video 0",
                "StopPlay { msid: Msid(2) }",
                "Video 0",
            ],
            answers: answers(&["_result 1", "_result 2", "_result 3", "NetStream.Publish.Start"]),
        },
    ]);
}

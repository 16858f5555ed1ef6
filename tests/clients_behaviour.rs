//! What real clients live through beside plain play: a publisher that comes later, is lost,
//! replaced or speaks like OBS. With one loop and with three.
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::thread;

use millrace::media::flv::tags;
use millrace::rtmp::amf0::Writer;
use support::clips::Clip;
use support::flv::{Recording, compare, compare_succession};
use support::programs::{Player, Program, Publisher, Scratch, until_frames, until_players};
use support::{PATIENCE, Server};

const PLAYERS: [Player; 5] =
    [Player::Ffmpeg, Player::NewFfmpeg, Player::Rtmpdump, Player::Gstreamer, Player::Mpv];

/// A server, and all players waiting for `live/stream`.
struct Stage {
    server: Server,
    url: String,
    dir: Scratch,
    playing: Vec<(Player, Program, std::path::PathBuf)>,
}

impl Stage {
    fn new(name: &str, loops: &str) -> Self {
        let dir = Scratch::new(&format!("{name}-{loops}"));
        let server = Server::start(&["--loops", loops]);
        let url = server.url("live/stream");
        let start = |player: Player| {
            let (program, file) = player.play(&url, &format!("{player:?}"), &dir);
            (player, program, file)
        };
        let playing = PLAYERS.map(start).into();
        until_players(&server, PLAYERS.len());
        Self { server, url, dir, playing }
    }

    /// Every player ends by itself with success; `check` gets what it has recorded and how many
    /// frames it may have dropped at the end.
    fn players_end(mut self, check: impl Fn(&Recording, usize) -> Result<(), String>) {
        for (player, program, file) in &mut self.playing {
            program.succeeds();
            check(&Recording::read(file), player.lost_at_end())
                .unwrap_or_else(|error| panic!("{player:?}: {error}"));
        }
        self.server.closed_for("stream_ended");
    }
}

/// Runs `test` with one loop and with three.
fn with_loops(test: impl Fn(&str) + Sync) {
    thread::scope(|scope| {
        for loops in ["1", "3"] {
            let test = &test;
            scope.spawn(move || test(loops));
        }
    });
}

/// All of `sent` has arrived.
fn is_complete(sent: &Recording, received: &Recording, lost: usize) -> Result<(), String> {
    let compared = compare(sent, received, lost)?;
    let (got, sent) = (compared.video + compared.audio, sent.len());
    if got + lost >= sent { Ok(()) } else { Err(format!("{got} frames of {sent}")) }
}

#[test]
fn players_that_wait_for_the_publisher_get_all_of_it_and_end_with_it() {
    with_loops(|loops| {
        let stage = Stage::new("wait", loops);
        let clip = Clip::Main.path();
        let (mut publishing, _) = Publisher::Ffmpeg.publish(&stage.url, &clip, &stage.dir);
        publishing.succeeds();
        let sent = Recording::read(&clip);
        stage.players_end(|received, lost| is_complete(&sent, received, lost));
    });
}

#[test]
fn players_stay_when_a_publisher_is_lost_and_comes_back() {
    with_loops(|loops| {
        let stage = Stage::new("hold", loops);
        let clip = Clip::Main.path();
        let sent = Recording::read(&clip);
        let (mut lost, _) = Publisher::Ffmpeg.publish(&stage.url, &clip, &stage.dir);
        until_frames(&stage.server, sent.frames_before(1_500));
        lost.kill();
        stage.server.stats_when("no publisher", |stats| stats["total"]["publishers"] == 0);
        let (mut back, _) = Publisher::Ffmpeg.publish(&stage.url, &clip, &stage.dir);
        back.succeeds();
        stage.players_end(|received, lost| {
            let before = compare_succession(&sent, received, lost)?;
            if before > 30 { Ok(()) } else { Err(format!("{before} frames before the loss")) }
        });
    });
}

#[test]
fn a_second_ffmpeg_takes_over_and_the_players_stay() {
    with_loops(|loops| {
        let stage = Stage::new("takeover", loops);
        let clip = Clip::Main.path();
        let sent = Recording::read(&clip);
        let (mut first, _) = Publisher::NewFfmpeg.publish(&stage.url, &clip, &stage.dir);
        until_frames(&stage.server, sent.frames_before(1_500));
        let (mut second, _) = Publisher::Ffmpeg.publish(&stage.url, &clip, &stage.dir);
        stage.server.closed_for("taken_over");
        first.wait();
        second.succeeds();
        stage.players_end(|received, lost| {
            let before = compare_succession(&sent, received, lost)?;
            if before > 30 { Ok(()) } else { Err(format!("{before} frames before the takeover")) }
        });
    });
}

#[test]
fn a_publisher_that_speaks_like_obs_reaches_every_player() {
    with_loops(|loops| {
        let stage = Stage::new("obs", loops);
        let clip = Clip::Main.path();
        publish_as_obs(&stage.server, &clip);
        let sent = Recording::read(&clip);
        // All of it comes at once: players start at the newest keyframe.
        stage.players_end(|received, lost| compare(&sent, received, lost).map(|_| ()));
    });
}

/// OBS 29: Set Chunk Size before connect, releaseStream, FCPublish and createStream in separate
/// writes, publish, data, audio and video all on chunk stream 4, FCUnpublish and deleteStream.
fn publish_as_obs(server: &Server, clip: &Path) {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut obs = Obs { stream, csid_4: None, received: Vec::new() };
    obs.shake_hands();
    obs.write(&[0x02, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0x10, 0]);
    let url = format!("rtmp://{}/live", server.address());
    obs.command(3, 0, |amf| {
        amf.string(b"connect").number(1.0).object();
        amf.key(b"app").string(b"live").key(b"type").string(b"nonprivate");
        amf.key(b"supportsGoAway").boolean(true);
        amf.key(b"flashVer").string(b"FMLE/3.0 (compatible; FMSc/1.0)");
        amf.key(b"swfUrl").string(url.as_bytes()).key(b"tcUrl").string(url.as_bytes()).end();
    });
    obs.read_until(b"NetConnection.Connect.Success");
    for (number, name) in [(2.0, &b"releaseStream"[..]), (3.0, b"FCPublish")] {
        obs.command(3, 0, |amf| {
            amf.string(name).number(number).null().string(b"stream");
        });
    }
    obs.received.clear();
    obs.command(3, 0, |amf| {
        amf.string(b"createStream").number(4.0).null();
    });
    // _result of 4.
    obs.read_until(b"\x02\0\x07_result\0\x40\x10");
    obs.command(4, 1, |amf| {
        amf.string(b"publish").number(5.0).null().string(b"stream").string(b"live");
    });
    obs.read_until(b"NetStream.Publish.Start");
    let mut metadata = Vec::new();
    let mut amf = Writer::new(&mut metadata);
    amf.string(b"@setDataFrame").string(b"onMetaData").ecma_array(20);
    let keys = "duration fileSize width height videodatarate framerate audiodatarate \
                audiosamplerate audiosamplesize audiochannels 2.1 3.1 4.0 4.1 5.1 7.1";
    for key in keys.split_whitespace() {
        amf.key(key.as_bytes()).number(0.0);
    }
    amf.key(b"videocodecid").number(7.0).key(b"audiocodecid").number(10.0);
    amf.key(b"stereo").boolean(false).key(b"encoder").string(b"obs-output module").end();
    obs.media(18, 0, &metadata);
    let file = std::fs::read(clip).unwrap();
    for tag in tags(&file).unwrap().filter(|tag| tag.tag_type != 18) {
        obs.media(tag.tag_type, tag.timestamp, tag.body);
    }
    obs.command(3, 0, |amf| {
        amf.string(b"FCUnpublish").number(6.0).null().string(b"stream");
    });
    obs.command(3, 0, |amf| {
        amf.string(b"deleteStream").number(7.0).null().number(1.0);
    });
    // Closing with answers unread would be a reset, which takes back what is not read yet.
    obs.stream.shutdown(Shutdown::Write).unwrap();
    obs.stream.read_to_end(&mut obs.received).unwrap();
}

/// A publisher by hand.
struct Obs {
    stream: TcpStream,
    /// Timestamp of the message before on chunk stream 4.
    csid_4: Option<u32>,
    received: Vec<u8>,
}

impl Obs {
    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn shake_hands(&mut self) {
        let mut c0_c1 = vec![3];
        c0_c1.extend((0..1536_u32).map(|i| if i < 8 { 0 } else { (i * 7) as u8 }));
        self.write(&c0_c1);
        let mut answer = vec![0; 1 + 1536 + 1536];
        self.stream.read_exact(&mut answer).unwrap();
        self.write(&answer[1..1537]);
    }

    /// Reads on until `wanted` has come.
    fn read_until(&mut self, wanted: &[u8]) {
        let mut buffer = [0; 4096];
        while !self.received.windows(wanted.len()).any(|bytes| bytes == wanted) {
            let len = self.stream.read(&mut buffer).unwrap();
            assert!(len > 0, "closed before {}", wanted.escape_ascii());
            self.received.extend_from_slice(&buffer[..len]);
        }
    }

    fn command(&mut self, csid: u8, msid: u32, write: impl FnOnce(&mut Writer<'_>)) {
        let mut body = Vec::new();
        write(&mut Writer::new(&mut body));
        self.message(csid, msid, &[0, 0, 0], 20, &body);
    }

    /// Type 0 for the first timestamp, for 0 and for a step back, else type 1, as librtmp does.
    fn media(&mut self, message_type: u8, timestamp: u32, body: &[u8]) {
        let before =
            self.csid_4.replace(timestamp).filter(|&before| timestamp > 0 && timestamp >= before);
        let [_, time @ ..] = before.map_or(timestamp, |before| timestamp - before).to_be_bytes();
        let msid = if before.is_some() { u32::MAX } else { 1 };
        self.message(4, msid, &time, message_type, body);
    }

    /// One message in chunks of 4096 bytes; `msid` `u32::MAX` makes the header type 1.
    fn message(&mut self, csid: u8, msid: u32, time: &[u8], message_type: u8, body: &[u8]) {
        let [_, len @ ..] = (body.len() as u32).to_be_bytes();
        let mut out = vec![if msid == u32::MAX { 0x40 | csid } else { csid }];
        out.extend([time, &len[..], &[message_type]].concat());
        if msid != u32::MAX {
            out.extend(msid.to_le_bytes());
        }
        for (index, part) in body.chunks(4096).enumerate() {
            if index > 0 {
                out.push(0xC0 | csid);
            }
            out.extend_from_slice(part);
        }
        self.write(&out);
    }
}

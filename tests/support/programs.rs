//! Real clients: ffmpeg (Debian's, and a newer one with Enhanced RTMP), rtmpdump, GStreamer.
//!
//! Every program ends with its [`Program`]; what it says goes to a file that a failure shows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, Server, clips};

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publisher {
    /// Debian's ffmpeg.
    Ffmpeg,
    /// A newer ffmpeg: Enhanced RTMP.
    NewFfmpeg,
    /// GStreamer's rtmp2sink.
    Gstreamer,
    /// GStreamer's rtmpsink, which is librtmp.
    Librtmp,
}

/// Who plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Player {
    /// Debian's ffmpeg.
    Ffmpeg,
    /// A newer ffmpeg: Enhanced RTMP.
    NewFfmpeg,
    /// librtmp.
    Rtmpdump,
    /// GStreamer's rtmp2src.
    Gstreamer,
    /// mpv, which is libavformat.
    Mpv,
}

impl Publisher {
    /// Publishes an FLV file at the pace of its timestamps. Returns the program and what it sends
    /// as an FLV file: the clip, or what GStreamer's muxer made of it, written to `dir`.
    pub fn publish(self, url: &str, clip: &Path, dir: &Scratch) -> (Program, PathBuf) {
        let sent = dir.file("sent.flv");
        let clip_text = clip.display().to_string();
        match self {
            Self::Ffmpeg | Self::NewFfmpeg => {
                let mut command = if self == Self::Ffmpeg { ffmpeg() } else { new_ffmpeg() };
                command.args(["-re", "-i", &clip_text, "-map", "0", "-c", "copy", "-f", "flv"]);
                command.args(["-flvflags", "no_duration_filesize", url]);
                (Program::start(command, "publisher", dir), clip.to_path_buf())
            }
            Self::Gstreamer | Self::Librtmp => {
                let mut command = program("gst-launch-1.0");
                let sink = if self == Self::Gstreamer { "rtmp2sink" } else { "rtmpsink" };
                let live = if self == Self::Gstreamer { "" } else { " live=1" };
                let pipeline = format!(
                    "flvmux name=mux streamable=true ! tee name=both ! queue ! {sink} sync=true \
                     location=\"{url}{live}\" both. ! queue ! filesink location=\"{}\" \
                     filesrc location=\"{clip_text}\" ! flvdemux name=demux \
                     demux.video ! queue ! mux.video demux.audio ! queue ! mux.audio",
                    sent.display()
                );
                command.arg("-q").args(shell_words(&pipeline));
                (Program::start(command, "publisher", dir), sent)
            }
        }
    }
}

impl Player {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ffmpeg, Self::NewFfmpeg, Self::Rtmpdump, Self::Gstreamer];
    /// Those that understand Enhanced RTMP, or pass on what they do not understand.
    pub const ENHANCED: [Self; 3] = [Self::NewFfmpeg, Self::Rtmpdump, Self::Gstreamer];

    /// How many frames it may drop when the stream ends.
    pub fn lost_at_end(self) -> usize {
        // QUIRK: rtmp2src forgets the frame that waits for its pipeline when StreamEOF comes.
        usize::from(self == Self::Gstreamer)
    }

    /// Plays into an FLV file `name`.flv in `dir` until the server ends the stream.
    pub fn play(self, url: &str, name: &str, dir: &Scratch) -> (Program, PathBuf) {
        let file = dir.file(&format!("{name}.flv"));
        let out = file.display().to_string();
        let command = match self {
            Self::Ffmpeg | Self::NewFfmpeg => {
                let mut command = if self == Self::Ffmpeg { ffmpeg() } else { new_ffmpeg() };
                // Unchanged timestamps.
                command.args(["-copyts", "-i", url, "-map", "0", "-c", "copy"]);
                command.args(["-flvflags", "no_duration_filesize", "-f", "flv", &out]);
                command
            }
            Self::Rtmpdump => {
                let mut command = program("rtmpdump");
                command.args(["--quiet", "--live", "--rtmp", url, "--flv", &out]);
                command
            }
            Self::Gstreamer => {
                let mut command = program("gst-launch-1.0");
                let (from, to) = (format!("location={url}"), format!("location={out}"));
                command.args(["-q", "rtmp2src", &from, "!", "filesink", &to]);
                command
            }
            Self::Mpv => {
                let mut command = program("mpv");
                command.args([
                    "--no-config",
                    "--really-quiet",
                    &format!("--stream-dump={out}"),
                    url,
                ]);
                command
            }
        };
        (Program::start(command, name, dir), file)
    }
}

/// Waits until so many frames of one stream have come in.
pub fn until_frames(server: &Server, frames: usize) {
    server.stats_when("the frames of the publisher", |stats| {
        let streams = stats["loops"].as_array().unwrap().iter();
        let mut streams = streams.flat_map(|report| report["streams"].as_array().unwrap());
        streams.any(|stream| stream["frames_in"].as_u64() >= Some(frames as u64))
    });
}

/// Waits until there are so many players.
pub fn until_players(server: &Server, players: usize) {
    server.stats_when("all players", |stats| {
        stats["total"]["players"].as_u64() == Some(players as u64)
    });
}

/// A directory for the files of one test, removed when the test has passed.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it; `name` is the test's own.
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A path in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !thread::panicking() {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    shown: String,
    said: PathBuf,
}

impl Program {
    /// Starts `command`; what it says goes to `name`.txt in `dir`.
    pub fn start(mut command: Command, name: &str, dir: &Scratch) -> Self {
        let said = dir.file(&format!("{name}.txt"));
        let file = File::create(&said).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        Self { child, shown: format!("{command:?}"), said }
    }

    /// Stops it where it is; [`Program::resume`] lets it go on.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// See [`Program::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended; waits as long as a clip may take.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(clips::seconds()) + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "does not end: {}", self.story());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits for the end with exit status 0.
    pub fn succeeds(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{status} from {}", self.story());
    }

    /// Its command line, and what it has said.
    pub fn story(&self) -> String {
        let said = fs::read(&self.said).unwrap();
        format!("{}\nwhich said: {}", self.shown, String::from_utf8_lossy(&said))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian's ffmpeg, quiet.
pub fn ffmpeg() -> Command {
    let mut command = program("ffmpeg");
    command.args(["-nostdin", "-y", "-loglevel", "error"]);
    command
}

/// The newer ffmpeg, quiet.
pub fn new_ffmpeg() -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/imageio/imageio_ffmpeg");
    let mut found = fs::read_dir(folder.join("binaries")).into_iter().flatten().flatten();
    let is_ffmpeg = |name: &str| name.starts_with("ffmpeg-linux");
    let found = found.find(|entry| entry.file_name().to_str().is_some_and(is_ffmpeg));
    let path = found.unwrap_or_else(|| panic!("the newer ffmpeg is missing: {INSTALL}")).path();
    let mut command = Command::new(path);
    command.args(["-nostdin", "-y", "-loglevel", "error"]);
    command
}

/// A program of the search path.
pub fn program(name: &str) -> Command {
    let paths = std::env::var_os("PATH").unwrap();
    let is_there = std::env::split_paths(&paths).any(|path| path.join(name).is_file());
    assert!(is_there, "{name} is missing: {INSTALL}");
    Command::new(name)
}

const INSTALL: &str = "scripts/install-tools.sh, run as root, installs the clients of the tests";

/// Splits at spaces outside double quotes.
fn shell_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            let last: &mut String = words.last_mut().unwrap();
            last.push_str(part);
        } else {
            words.extend(part.split_whitespace().map(String::from));
        }
    }
    words
}

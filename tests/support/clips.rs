//! What real clients publish: FLV files made by ffmpeg, once for all tests and runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use super::programs::{ffmpeg, new_ffmpeg};

/// Length of the clips in seconds: short, unless `MILLRACE_CLIP_SECONDS` wants more.
pub fn seconds() -> u64 {
    std::env::var("MILLRACE_CLIP_SECONDS").map_or(4, |text| text.parse().unwrap())
}

/// A clip: keyframes every second, all of them different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clip {
    /// H.264 with B-frames, and AAC.
    Main,
    /// H.264 and MP3.
    Mp3,
    /// AAC.
    AudioOnly,
    /// H.264.
    VideoOnly,
    /// HEVC and AAC, Enhanced RTMP.
    Hevc,
    /// AV1 and Opus, Enhanced RTMP.
    Av1Opus,
    /// H.264, and AC-3, whose sequence header has no body, Enhanced RTMP.
    Ac3,
    /// Two tracks of H.264, two of AAC, Enhanced RTMP.
    Tracks,
    /// 20 Mb/s of H.264, 1080 lines, 60 frames a second, and AAC.
    Heavy,
}

const H264: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-b:v", "1M"];
const AAC: &[&str] = &["-c:a", "aac", "-b:a", "96k"];

impl Clip {
    /// The file; made if it is not there yet.
    pub fn path(self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clips");
        fs::create_dir_all(&folder).unwrap();
        let name = format!("{self:?}-{}.flv", seconds()).to_lowercase();
        let file = folder.join(&name);
        let lock = File::create(folder.join(format!("{name}.lock"))).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        if !file.exists() {
            let unfinished = folder.join(format!("{name}.unfinished"));
            let mut command = self.command();
            let output = command.args(["-f", "flv"]).arg(&unfinished).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?} fails: {said}");
            fs::rename(unfinished, &file).unwrap();
        }
        file
    }

    fn command(self) -> Command {
        let (video, second, sound) = ("testsrc2=s=640x360:r=30", "mandelbrot=s=320x180:r=30", "");
        let hd = "testsrc2=s=1920x1080:r=60";
        let command = match self {
            Self::Hevc | Self::Av1Opus | Self::Ac3 | Self::Tracks => new_ffmpeg(),
            Self::Main | Self::Mp3 | Self::AudioOnly | Self::VideoOnly | Self::Heavy => ffmpeg(),
        };
        match self {
            Self::Main => made(command, &[video, sound], &[BFRAMES, AAC]),
            Self::Mp3 => made(command, &[video, sound], &[H264, &["-c:a", "libmp3lame"]]),
            Self::AudioOnly => made(command, &[sound], &[AAC]),
            Self::VideoOnly => made(command, &[video], &[H264]),
            Self::Hevc => made(command, &[video, sound], &[HEVC, AAC]),
            Self::Av1Opus => made(command, &[video, sound], &[AV1, &["-c:a", "libopus"]]),
            Self::Ac3 => made(command, &[video, sound], &[H264, &["-c:a", "ac3"]]),
            Self::Tracks => made(command, &[video, second, sound, sound], &[H264, AAC]),
            Self::Heavy => made(command, &[hd, sound], &[HEAVY, AAC]),
        }
    }
}

const BFRAMES: &[&str] =
    &["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "30", "-b:v", "1M"];
const HEVC: &[&str] = &["-c:v", "libx265", "-preset", "ultrafast", "-g", "30", "-b:v", "1M"];
const AV1: &[&str] = &["-c:v", "libsvtav1", "-preset", "12", "-g", "30", "-b:v", "1M"];
/// Padded to the full rate, which costs no time to encode.
const HEAVY: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-g",
    "60",
    "-b:v",
    "20M",
    "-minrate",
    "20M",
    "-maxrate",
    "20M",
    "-bufsize",
    "10M",
    "-x264-params",
    "nal-hrd=cbr:force-cfr=1",
];

/// Adds inputs (an empty one is a tone, each of another pitch) and encoders to a command.
fn made(mut command: Command, inputs: &[&str], encoders: &[&[&str]]) -> Command {
    for (index, input) in inputs.iter().enumerate() {
        let tone = format!("aevalsrc=sin(2*PI*t*(220*{}+20*t)):s=44100", index + 1);
        let input = if input.is_empty() { &tone } else { *input };
        command.args(["-f", "lavfi", "-t", &seconds().to_string(), "-i", input]);
    }
    for index in 0..inputs.len() {
        command.args(["-map", &index.to_string()]);
    }
    command.args(["-pix_fmt", "yuv420p"]).args(encoders.concat());
    command
}

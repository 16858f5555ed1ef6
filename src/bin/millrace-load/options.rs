//! Flags: one table for parsing and for `--help`.

use std::net::SocketAddr;
use std::path::PathBuf;

use getopts::Matches;
use millrace::cli::values::{UsageError, duration_ms};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Load a server.
    Run(Box<Options>),
    /// Print this text.
    Print(String),
}

/// Every flag, parsed and checked.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Server.
    pub(crate) server: SocketAddr,
    /// `app` of connect.
    pub(crate) app: String,
    /// Stream name.
    pub(crate) stream: String,
    /// Players that read.
    pub(crate) players: usize,
    /// Every so many players checks checksums; 0: none does.
    pub(crate) verify_every: usize,
    /// Players that never read.
    pub(crate) stuck: usize,
    /// Connections that do connect and nothing more; there is no publisher then.
    pub(crate) idle: usize,
    /// Measured time, ms, from the moment when all peers have what they want.
    pub(crate) time_ms: u64,
    /// Bit rate of the synthetic source, 1000 bits a second.
    pub(crate) kbps: u64,
    /// Time between keyframes of the synthetic source, ms.
    pub(crate) gop_ms: u64,
    /// Published instead of the synthetic source.
    pub(crate) flv: Option<PathBuf>,
    /// Source addresses, 127.0.0.1 and up; 1: the kernel chooses.
    pub(crate) sources: usize,
    /// Connections opened a second.
    pub(crate) connect_rate: u64,
}

/// Name, value, default, help.
const FLAGS: [(&str, &str, &str, &str); 14] = [
    ("server", "ADDR:PORT", "127.0.0.1:1935", "Server."),
    ("app", "NAME", "live", "App."),
    ("stream", "NAME", "load", "Stream name."),
    ("players", "N", "100", "Players that read."),
    ("verify-every", "K", "20", "Every K-th player checks every byte; 0: none does."),
    ("stuck", "N", "0", "Players that never read."),
    ("idle", "N", "0", "Only connect so often and stay; nobody publishes or plays."),
    ("time", "TIME", "10", "Measured time once everybody is there (seconds, or ms, s, m)."),
    ("kbps", "N", "1000", "Bit rate: 30 video and 43 audio frames a second share it."),
    ("gop-ms", "N", "2000", "Time between keyframes."),
    ("flv", "FILE", "", "Publish this file again and again instead."),
    ("sources", "N", "1", "Source addresses, 127.0.0.1 and up."),
    ("connect-rate", "N", "1000", "Connections opened a second."),
    ("help", "", "", "Print this text."),
];

impl Options {
    /// Parses `args` (without the program's name).
    ///
    /// # Errors
    /// [`UsageError`]: one sentence that says what is wrong and what is allowed.
    pub(crate) fn parse(args: &[String]) -> Result<Command, UsageError> {
        let mut table = getopts::Options::new();
        for (name, value, default, help) in FLAGS {
            if value.is_empty() {
                table.optflag("", name, help);
            } else {
                table.optopt("", name, &format!("{help} [{default}]"), value);
            }
        }
        let matches = table.parse(args).map_err(|e| UsageError::Syntax(e.to_string()))?;
        if let Some(word) = matches.free.first() {
            return Err(UsageError::Stray(word.clone()));
        }
        if matches.opt_present("help") {
            let usage = "millrace-load: loads an RTMP server and checks what players get";
            return Ok(Command::Print(table.usage(usage)));
        }
        Self::build(&matches).map(|options| Command::Run(Box::new(options)))
    }

    fn build(matches: &Matches) -> Result<Self, UsageError> {
        let server = matches.opt_str("server").unwrap_or_else(|| "127.0.0.1:1935".into());
        let server = server.parse().map_err(|_| UsageError::Value {
            flag: "server",
            given: server,
            allowed: "an address and a port, such as 127.0.0.1:1935".into(),
        })?;
        let time = matches.opt_str("time").unwrap_or_else(|| "10".into());
        let time_ms = duration_ms(&time).ok_or(UsageError::Value {
            flag: "time",
            given: time,
            allowed: "seconds, or a number with ms, s or m".into(),
        })?;
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self {
            server,
            app: matches.opt_str("app").unwrap_or_else(|| "live".into()),
            stream: matches.opt_str("stream").unwrap_or_else(|| "load".into()),
            players: size(number(matches, "players", 100, 0, 1_000_000)?),
            verify_every: size(number(matches, "verify-every", 20, 0, 1_000_000)?),
            stuck: size(number(matches, "stuck", 0, 0, 1_000_000)?),
            idle: size(number(matches, "idle", 0, 0, 1_000_000)?),
            time_ms,
            kbps: number(matches, "kbps", 1000, 100, 1_000_000)?,
            gop_ms: number(matches, "gop-ms", 2000, 100, 60_000)?,
            flv: matches.opt_str("flv").map(PathBuf::from),
            sources: size(number(matches, "sources", 1, 1, 200)?),
            connect_rate: number(matches, "connect-rate", 1000, 1, 1_000_000)?,
        })
    }
}

fn number(
    matches: &Matches,
    flag: &'static str,
    default: u64,
    least: u64,
    most: u64,
) -> Result<u64, UsageError> {
    let Some(text) = matches.opt_str(flag) else { return Ok(default) };
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => {
            let allowed = format!("a number from {least} to {most}");
            Err(UsageError::Value { flag, given: text, allowed })
        }
    }
}

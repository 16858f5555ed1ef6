//! `millrace-load`: publishers, many players, idle, slow or stuck peers, in one thread.
//!
//! Loads an RTMP server and tells whether it kept its promises: every body of a publisher carries
//! a sequence number, the time it was sent and a checksum ([`stamp`]). Every K-th player is
//! verified: it sees order, gaps, a wrong byte, and its latencies are those of arrival in the
//! socket. The others parse until their first keyframe; then their bytes are counted and compared
//! with what a player that parses got. Parts: [`options`] (flags of the load, on [`flags`]),
//! [`source`] and [`codec`] (what is published), [`publishers`], [`members`] (who takes part),
//! [`inbound`] (what one player gets), [`streams`] (where frames end), [`drain`] (players that are
//! counted only), [`crowd`] (churn and storm), [`peer`] (one connection), [`connections`] and
//! [`socket`], [`load`] (the event loop and its phases), [`latency`] (histograms), [`resources`]
//! (CPU and memory), [`progress`] (a line a second), [`report`] (the result), [`promises`] (what
//! must hold). Other modes: [`floor`] (a bare loop to measure servers with), [`plot`] (pictures).
//!
//! Exit codes: 0 every promise held, 1 one was broken or the load could not run, 2 bad flags.
#![forbid(unsafe_code)]

mod chart;
mod clock;
mod codec;
mod connections;
mod crowd;
mod drain;
mod error;
mod flags;
mod floor;
mod inbound;
mod latency;
mod load;
mod members;
mod options;
mod peer;
mod plot;
mod progress;
mod promises;
mod publishers;
mod report;
mod resources;
mod socket;
mod source;
mod stamp;
mod streams;

use std::fs::{self, File};
use std::io::{self, Write};
use std::process::ExitCode;

use error::LoadError;
use load::Load;
use millrace::net::log_writer::LogWriter;
use options::{Command, Options, is_stdout};
use report::Report;
use source::Source;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mode, rest) = match args.split_first() {
        Some((word, rest)) if !word.starts_with('-') => (word.as_str(), rest),
        _ => ("load", args.as_slice()),
    };
    match mode {
        "load" => run_load(rest),
        "floor" => run_floor(rest),
        "plot" => match plot::run(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(io::stderr(), &error.to_string(), error.code()),
        },
        other => complain(io::stderr(), &format!("'{other}' is no mode; see --help"), 2),
    }
}

/// Loads a server. A stderr that nobody reads costs lines, and neither time nor the result.
fn run_load(args: &[String]) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Print(text)) => return print(&text),
        Err(error) => return complain(io::stderr(), &error.to_string(), 2),
    };
    let mut stderr = match LogWriter::start() {
        Ok(stderr) => stderr,
        Err(error) => return complain(io::stderr(), &error.to_string(), 1),
    };
    let code = match run(&options, &stderr) {
        Ok(report) => finish(&options, &report, &mut stderr),
        Err(error) => complain(&mut stderr, &error.to_string(), 1),
    };
    stderr.drain();
    code
}

/// Serves, to be measured.
fn run_floor(args: &[String]) -> ExitCode {
    match floor::Options::parse(args) {
        Ok(Ok(options)) => match floor::Floor::new(options).and_then(floor::run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(io::stderr(), &error.to_string(), 1),
        },
        Ok(Err(text)) => print(&text),
        Err(error) => complain(io::stderr(), &error.to_string(), 2),
    }
}

fn run(options: &Options, stderr: &LogWriter) -> Result<Report, LoadError> {
    // Without it fewer connections fit, which the first failed one tells.
    let _ = millrace::host::raise_nofile();
    // Now rather than after hours.
    for path in [&options.json, &options.csv].into_iter().flatten().filter(|it| !is_stdout(it)) {
        let opened = File::options().append(true).create(true).open(path);
        opened.map_err(|error| LoadError::Output(path.clone(), error))?;
    }
    let file;
    let source = match &options.flv {
        None => Source::synthetic(options.kbps, options.gop_ms),
        Some(path) => {
            file = fs::read(path).map_err(|error| LoadError::File(path.clone(), error))?;
            Source::flv(&file).ok_or(LoadError::NoFlv)?
        }
    };
    let mut report = Load::new(options, source, stderr.clone())?.run()?;
    report.broken = options.promises.judge(&report);
    if let (Some(pid), None) = (options.server_pid, report.server) {
        report.broken.push(format!("the server's process {pid} was not there to the end"));
    }
    Ok(report)
}

/// Writes the result in every form that is asked for.
fn finish(options: &Options, report: &Report, stderr: &mut LogWriter) -> ExitCode {
    let forms = [(&options.json, report.json()), (&options.csv, report.csv())];
    for (path, form) in &forms {
        let Some(path) = path else { continue };
        let written = match is_stdout(path) {
            true => io::stdout().write_all(form.as_bytes()),
            false => fs::write(path, form),
        };
        if let Err(error) = written {
            let error = LoadError::Output(path.clone(), error);
            return complain(stderr, &error.to_string(), 1);
        }
    }
    let text = report.text();
    let written = match options.has_stdout() {
        true => stderr.write_all(text.as_bytes()),
        false => io::stdout().write_all(text.as_bytes()),
    };
    if written.is_ok() && report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One sentence to stderr.
fn complain(mut stderr: impl Write, what: &str, code: u8) -> ExitCode {
    // If stderr is gone the exit code has to do.
    let _ = stderr.write_all(format!("millrace-load: {what}\n").as_bytes());
    ExitCode::from(code)
}

//! The command line: what is taken, what is refused and with which words, help and the README.
mod support;

use std::net::TcpListener;
use std::process::{Command as Process, Output, Stdio};

use millrace::cli::config::Pin;
use millrace::cli::flags::{help, readme_table};
use millrace::cli::{Command, Config, FLAGS, Host};
use millrace::limits::LISTENERS_MAX;

fn host() -> Host {
    Host { cpus: vec![0, 1, 5, 6], cpu_quota: None, memory: 8 << 30, nofile: 20_000 }
}

fn parse_on(host: &Host, args: &[&str]) -> Result<Config, String> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    match Config::parse(&args, host) {
        Ok(Command::Run(config)) => Ok(*config),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn parse(args: &[&str]) -> Result<Config, String> {
    parse_on(&host(), args)
}

#[test]
fn wrong_values_say_what_is_wrong_and_what_is_allowed() {
    let rows: &[(&[&str], &str)] = &[
        (&["--lops", "3"], "Unrecognized option: 'lops'; see --help"),
        (&["--loops"], "Argument to option 'loops' missing; see --help"),
        (&["--loops", "2", "--loops", "3"], "Option 'loops' given more than once; see --help"),
        (&["live"], "'live' is not a flag; see --help"),
        (&["--loops", "0"], "--loops '0' is not allowed: give a number from 1 to 1024"),
        (&["--loops", "1025"], "--loops '1025' is not allowed: give a number from 1 to 1024"),
        (&["--loops", "two"], "--loops 'two' is not allowed: give a number from 1 to 1024"),
        (&["--loops", "-1"], "--loops '-1' is not allowed: give a number from 1 to 1024"),
        (&["--backlog", "0"], "--backlog '0' is not allowed: give a number from 1 to 1048576"),
        (&["--rings", "4K"], "--rings '4K' is not allowed: give a number from 1 to 65536"),
        (
            &["--ring-bytes", "1K"],
            "--ring-bytes '1K' is not allowed: give a size from 4K to 16M, with K, M or G if you \
             like",
        ),
        (
            &["--chunk-size", "100"],
            "--chunk-size '100' is not allowed: give a size from 128 to 16777215, with K, M or G \
             if you like",
        ),
        (
            &["--memory", "1.5G"],
            "--memory '1.5G' is not allowed: give a size from 1M to 1048576G, with K, M or G if \
             you like",
        ),
        (
            &["--sndbuf", "99999999999999999999G"],
            "--sndbuf '99999999999999999999G' is not allowed: give a size from 0 to 1G, with K, M \
             or G if you like",
        ),
        (
            &["--max-lag-ms", "5s"],
            "--max-lag-ms '5s' is not allowed: give a number from 100 to 3600000",
        ),
        (
            &["--hold", "soon"],
            "--hold 'soon' is not allowed: give seconds, or a number with ms, s or m",
        ),
        (
            &["--hold", "nan"],
            "--hold 'nan' is not allowed: give seconds, or a number with ms, s or m",
        ),
        (
            &["--hold", "-1"],
            "--hold '-1' is not allowed: give seconds, or a number with ms, s or m",
        ),
        (
            &["--handshake-timeout", "0"],
            "--handshake-timeout '0' is not allowed: give a time above 0",
        ),
        (&["--nodelay", "yes"], "--nodelay 'yes' is not allowed: give on or off"),
        (&["--gop-cache", "all"], "--gop-cache 'all' is not allowed: give gop or keyframe or off"),
        (&["--takeover", ""], "--takeover '' is not allowed: give idle or always or never"),
        (
            &["--listen", "1935"],
            "--listen '1935' is not allowed: give an address and a port, such as 0.0.0.0:1935 or \
             [::1]:0",
        ),
        (
            &["--listen", "localhost:1935"],
            "--listen 'localhost:1935' is not allowed: give an address and a port, such as \
             0.0.0.0:1935 or [::1]:0",
        ),
        (
            &["--loops", "2", "--pin", "0,2"],
            "--pin '0,2' is not allowed: give auto, off, or a list of 2 CPUs (one per loop) out \
             of 0,1,5,6",
        ),
        (
            &["--loops", "2", "--pin", "5"],
            "--pin '5' is not allowed: give auto, off, or a list of 2 CPUs (one per loop) out of \
             0,1,5,6",
        ),
        (
            &["--log", "loud"],
            "--log 'loud' is not allowed: give off, error, warn, info, debug, trace, or a list \
             such as info,millrace::net=debug",
        ),
    ];
    for (args, sentence) in rows {
        assert_eq!(parse(args).err().as_deref(), Some(*sentence), "{args:?}");
    }
    let listen: Vec<&str> =
        ["--listen", "[::1]:0"].into_iter().cycle().take(2 * (LISTENERS_MAX + 1)).collect();
    let sentence = "--listen '[::1]:0' is not allowed: give at most 256 addresses";
    assert_eq!(parse(&listen).err().as_deref(), Some(sentence));
    assert!(parse(&listen[2..]).is_ok());
}

#[test]
fn sizes_and_times_take_units() {
    for (given, bytes) in [("4096", 4096), ("4K", 4096), ("4k", 4096), ("1M", 1 << 20)] {
        assert_eq!(parse(&["--ring-bytes", given]).unwrap().ring_bytes, bytes);
    }
    assert_eq!(parse(&["--memory", "3G"]).unwrap().memory, 3 << 30);
    let times = [("2", 2_000), ("2s", 2_000), ("1.5", 1_500), ("250ms", 250), ("3m", 180_000)];
    for (given, ms) in times {
        assert_eq!(parse(&["--hold", given]).unwrap().hold_ms, ms, "{given}");
    }
    let pinned = parse(&["--loops", "3", "--pin", "0,5-6"]).unwrap();
    assert_eq!(pinned.pin, Pin::To(vec![0, 5, 6]));
}

#[test]
fn pin_auto_says_why_it_does_not_pin() {
    let quota = |cpus: f64| Host { cpu_quota: Some(cpus), ..host() };
    let pin = |host: &Host, args: &[&str]| parse_on(host, args).unwrap().pin;
    let all = Pin::To(vec![0, 1, 5, 6]);
    assert_eq!(pin(&host(), &[]), all);
    assert_eq!(pin(&quota(4.0), &["--pin", "auto"]), all);
    assert_eq!(pin(&quota(3.5), &[]), Pin::Off("the CPU quota is below the number of loops"));
    assert_eq!(pin(&host(), &["--loops", "1"]), Pin::Off("there is one loop"));
    assert_eq!(pin(&host(), &["--loops", "3"]), Pin::Off("loops and CPUs differ in number"));
    assert_eq!(pin(&host(), &["--pin", "off"]), Pin::Off("--pin off"));
}

#[test]
fn defaults_are_what_the_table_says() {
    let default = format!("{:?}", parse(&[]).unwrap());
    let from_the_host = ["loops", "max-connections", "memory", "log"];
    for flag in FLAGS.iter().filter(|flag| !flag.default.is_empty()) {
        if from_the_host.contains(&flag.name) {
            continue;
        }
        let given = parse(&[&format!("--{}", flag.name), flag.default]).unwrap();
        assert_eq!(format!("{given:?}"), default, "--{} {}", flag.name, flag.default);
    }
    let config = parse(&[]).unwrap();
    assert_eq!((config.loops, config.max_connections), (4, 20_000 - 128));
    assert_eq!(config.memory as u64, (8 << 30) / 10 * 7);
    // Many loops with a listener each need more than the usual reserve.
    let many = parse(&["--loops", "100", "--accept", "reuseport"]).unwrap();
    assert_eq!(many.max_connections, 20_000 - 332);
}

#[test]
fn help_is_grouped_and_fits_100_columns() {
    let text = help();
    assert!(text.lines().all(|line| line.len() <= 100));
    let mut at = 0;
    for flag in FLAGS {
        for wanted in [format!("\n{}:\n", flag.group), format!("\n  --{}", flag.name)] {
            if let Some(found) = text[at..].find(&wanted) {
                at += found;
            } else {
                assert!(text[..=at].contains(&wanted), "{wanted:?} comes in the table's order");
            }
        }
    }
    for code in ["0 ", "1 ", "2 ", "70 ", "130, 143"] {
        assert!(text.contains(&format!("\n  {code}")), "exit code {code} is documented");
    }
}

#[test]
fn the_readme_lists_the_flags_of_the_table() {
    let path = format!("{}/README.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- flags -->\n").unwrap();
    let (block, after) = rest.split_once("<!-- /flags -->").unwrap();
    if std::env::var_os("MILLRACE_BLESS").is_some() {
        let blessed = format!("{before}<!-- flags -->\n{}<!-- /flags -->{after}", readme_table());
        return std::fs::write(&path, blessed).unwrap();
    }
    assert!(block == readme_table(), "run MILLRACE_BLESS=1 cargo test --test usage");
}

/// Runs to the end; only for command lines that cannot start a server.
fn millrace(args: &[&str]) -> Output {
    let mut process = Process::new(env!("CARGO_BIN_EXE_millrace"));
    process.args(args).stdin(Stdio::null()).output().unwrap()
}

/// Code, and the one line on stderr.
fn refused(args: &[&str]) -> (i32, String) {
    let output = millrace(args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "one sentence: {text}");
    (output.status.code().unwrap(), text.trim_end().to_owned())
}

#[test]
fn wrong_flags_end_with_2_and_one_sentence() {
    let sentence = "millrace: --loops '0' is not allowed: give a number from 1 to 1024";
    assert_eq!(refused(&["--loops", "0"]), (2, sentence.into()));
    let (code, text) = refused(&["--pin", "100000"]);
    assert_eq!(code, 2);
    assert!(
        text.starts_with("millrace: --pin '100000' is not allowed: give auto, off, or"),
        "{text}"
    );
}

#[test]
fn memory_below_the_fixed_part_ends_with_2_and_the_sum() {
    let flags = ["--loops", "2", "--rings", "100", "--ring-bytes", "64K", "--mailbox", "1"];
    let more = ["--max-connections", "1", "--memory", "10M"];
    let (code, text) = refused(&[&flags[..], &more[..]].concat());
    assert_eq!(code, 2);
    assert!(text.contains("--memory 10485760 is too small"), "{text}");
    assert!(text.contains("rings 13107200,"), "{text}");
    let figure = |before: &str| {
        let rest = text.split_once(before).unwrap().1;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().unwrap()
    };
    let parts = ["loops ", "rings ", "mailboxes ", "connections ", "allocator "].map(figure);
    assert_eq!(figure("taken at start is "), parts.iter().sum::<usize>());
}

#[test]
fn a_port_in_use_ends_with_1_and_names_port_and_cause() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for accept in ["balance", "reuseport"] {
        let (code, text) = refused(&["--listen", &address, "--accept", accept, "--loops", "2"]);
        assert_eq!(code, 1);
        assert!(
            text.contains(&format!("cannot listen on {address}: Address already in use")),
            "{text}"
        );
    }
    // A second server of our own would split the traffic unseen.
    let first = support::Server::start(&["--accept", "reuseport", "--loops", "2"]);
    let address = first.address().to_string();
    let (code, text) = refused(&["--listen", &address, "--accept", "reuseport", "--loops", "2"]);
    assert_eq!(code, 1, "{text}");
}

//! The shape of the sources is checked, not remembered: layers, sizes, names, and that whatever
//! promises a test has one.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use millrace::cli::FLAGS;

/// The aim is 400.
const FILE_LINES_MAX: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `folder` that ends with `extension`, as path from the root and text.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_built = path.ends_with("target") || path.ends_with("artifacts");
            if path.is_dir() && !is_built {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push((relative(&path), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

fn sources() -> Vec<(String, String)> {
    files("src", "rs")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Lines that are code: no comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

fn fails(what: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{what}:\n{}", offenders.join("\n"));
}

/// The layer of a source file, the layers it may use, and what of the world it must not know.
fn layer(path: &str) -> Option<(&'static [&'static str], &'static [&'static str])> {
    const PURE: &[&str] = &[
        "mio::",
        "std::thread",
        "std::fs",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "Instant",
        "SystemTime",
        "socket2",
        "rustix",
        "crossbeam",
    ];
    let in_layer = |name: &str| path.starts_with(&format!("src/{name}"));
    match path {
        "src/limits.rs" | "src/time.rs" | "src/budget.rs" => Some((&[], PURE)),
        _ if in_layer("rtmp/") => Some((&["limits", "budget", "time", "rtmp"], PURE)),
        _ if in_layer("media/") => Some((&["limits", "budget", "time", "rtmp", "media"], PURE)),
        _ if in_layer("service/") => {
            Some((&["limits", "budget", "time", "rtmp", "media", "service"], PURE))
        }
        _ if in_layer("cli/") => Some((&["limits", "cli"], PURE)),
        _ if in_layer("net/") => {
            Some((&["limits", "budget", "time", "rtmp", "media", "service", "net"], &[]))
        }
        _ => None,
    }
}

#[test]
fn layers_import_only_what_lies_below_them() {
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        let Some((layers, unknown)) = layer(&path) else { continue };
        for line in code(&text) {
            for (at, _) in line.match_indices("crate::") {
                let name = line[at + 7..].split(|c: char| !c.is_alphanumeric() && c != '_');
                let name = name.into_iter().next().unwrap_or_default();
                if !layers.contains(&name) && !name.is_empty() {
                    offenders.push(format!("{path} uses crate::{name}"));
                }
            }
            let mut words = unknown.iter();
            if let Some(word) = words.find(|word| line.contains(**word)) {
                offenders.push(format!("{path} knows {word}"));
            }
        }
    }
    fails("imports against the layers", &offenders);
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().take_while(|line| !line.contains("#[cfg(test)]")).count();
        if lines > FILE_LINES_MAX {
            offenders.push(format!("{path} has {lines} lines"));
        }
        if !text.starts_with("//!") {
            offenders.push(format!("{path} does not open with //!"));
        }
    }
    for (path, text) in files("tests", "rs") {
        let lines = text.lines().count();
        if lines > 600 {
            offenders.push(format!("{path} has {lines} lines"));
        }
        if !text.starts_with("//!") && !path.starts_with("tests/fuzz/") {
            offenders.push(format!("{path} does not open with //!"));
        }
    }
    fails("files that are too long or lack a module comment", &offenders);
    assert!(read("README.md").lines().count() <= 250, "README.md has more than 250 lines");
}

/// Code lines with the name of the function they stand in.
fn with_function(text: &str) -> Vec<(String, String)> {
    let mut function = String::new();
    let mut lines = Vec::new();
    for line in code(text) {
        if let Some((_, rest)) = line.split_once("fn ") {
            function = rest.split(['(', '<']).next().unwrap_or_default().to_owned();
        }
        lines.push((function.clone(), line.to_owned()));
    }
    lines
}

#[test]
fn payload_is_copied_in_the_named_functions_only() {
    // Bytes of media: FrameBuilder::put. Bytes of commands and data messages: Partial::append.
    // Input behind an unanswered command moves out of its ring: keep_rest. The others see names,
    // prefixes of at most 4 KiB, headers, or are no part of the server's way of a frame.
    const ALLOWED: &[(&str, &[&str])] = &[
        ("src/media/frame.rs", &["put", "classify", "read_name"]),
        ("src/media/flv.rs", &["emit_header", "emit_tag"]),
        ("src/rtmp/session/body.rs", &["append"]),
        ("src/net/event_loop/input.rs", &["keep_rest"]),
    ];
    let copies = ["extend_from_slice", "copy_from_slice", ".to_vec()", ".concat()", "clone_from"];
    let is_on_the_way = |path: &str| {
        let layers = ["src/media/", "src/net/event_loop/", "src/rtmp/session/body.rs"];
        layers.iter().any(|layer| path.starts_with(layer))
            || path == "src/service/publisher.rs"
            || path == "src/service/stream.rs"
    };
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        if !is_on_the_way(&path) {
            continue;
        }
        let allowed = ALLOWED.iter().find(|(file, _)| *file == path).map_or(&[][..], |(_, f)| f);
        for (function, line) in with_function(&text) {
            let is_copy = copies.iter().any(|copy| line.contains(copy));
            // Frames are shared: a list of Arcs may be copied.
            let is_list = line.contains("frames(");
            if is_copy && !is_list && !allowed.contains(&function.as_str()) {
                offenders.push(format!("{path}, {function}: {line}"));
            }
        }
    }
    fails("copies of bytes outside the named functions", &offenders);
}

#[test]
fn the_directory_is_locked_at_transitions_only() {
    const ALLOWED: &[&str] = &[
        "handle_live",
        "try_publish",
        "handle_play",
        "handle_unpublish",
        "stop_player",
        "leave_streams",
        "run_timers",
    ];
    let mut offenders = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("src/net/")) {
        let locks =
            with_function(&text).into_iter().filter(|(_, line)| line.contains(".directory()"));
        offenders.extend(
            locks
                .filter(|(function, _)| !ALLOWED.contains(&function.as_str()))
                .map(|(function, line)| format!("{path}, {function}: {line}")),
        );
    }
    fails("the directory is touched outside publish, play, stop", &offenders);
    let turn = read("src/net/event_loop/mod.rs");
    assert!(
        turn.contains("LiveMessage::Frame { id, arrived } => live.handle_frame("),
        "frames of other loops pass without the directory"
    );
}

#[test]
fn only_the_flush_writes_to_a_connection() {
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        let is_loop = path.starts_with("src/net/event_loop/") || path == "src/net/connection.rs";
        if !is_loop || path.ends_with("flush.rs") {
            continue;
        }
        let writes = [".write(", ".write_all(", ".write_vectored(", ".send("];
        let found = code(&text).filter(|line| writes.iter().any(|write| line.contains(write)));
        offenders.extend(found.map(|line| format!("{path}: {line}")));
    }
    fails("writes outside the flush", &offenders);
}

#[test]
fn names_are_those_of_the_glossary() {
    let mut offenders = Vec::new();
    for (path, text) in sources() {
        for line in code(&text) {
            let words: HashSet<&str> =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let bad = |word: &&str| {
                word.ends_with("Manager")
                    || word.ends_with("Helper")
                    || ["util", "utils", "helper", "helpers", "ServerBW", "ClientBW"].contains(word)
            };
            if let Some(word) = words.into_iter().find(|word| bad(word)) {
                offenders.push(format!("{path}: {word}"));
            }
            if line.contains("fn get_") {
                offenders.push(format!("{path}: {line}"));
            }
        }
    }
    fails("words outside the glossary", &offenders);
}

#[test]
fn unsafe_code_is_forbidden_in_every_crate() {
    let mut crates = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    let is_root = |path: &String| path.ends_with("main.rs") || path.matches('/').count() == 2;
    crates.extend(
        sources()
            .into_iter()
            .map(|(path, _)| path)
            .filter(|path| path.starts_with("src/bin/") && is_root(path)),
    );
    for path in crates {
        assert!(read(&path).contains("#![forbid(unsafe_code)]"), "{path}");
    }
}

#[test]
fn each_fixed_package_does_its_named_job() {
    let jobs = [
        ("mio::", "src/net/event_loop/"),
        ("slab::", "src/net/event_loop/"),
        ("arrayvec::", "src/net/event_loop/"),
        ("crossbeam_channel::", "src/net/mailbox.rs"),
        ("log::", "src/net/event_loop/"),
        ("env_logger::", "src/"),
        ("getopts::", "src/cli/"),
        ("nix::", "src/bin/millrace-load/socket.rs"),
        ("hdrhistogram::", "src/bin/millrace-load/latency.rs"),
        ("serde_json::", "src/bin/millrace-load/report.rs"),
    ];
    for (package, place) in jobs {
        let used = sources().iter().any(|(path, text)| {
            path.starts_with(place) && code(text).any(|line| line.contains(package))
        });
        assert!(used, "{package} is not used in {place}");
    }
}

/// Whether `tests/file.rs::function` is a test that runs.
fn is_test(name: &str) -> bool {
    let Some((file, function)) = name.split_once("::") else { return false };
    let Ok(text) = fs::read_to_string(root().join(file)) else { return false };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let wanted = format!("fn {function}(");
    let Some(at) = lines.iter().position(|line| line.starts_with(&wanted)) else { return false };
    let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with('#'));
    // A test inside proptest! has its attribute there too.
    attributes.clone().any(|line| *line == "#[test]")
        && !attributes.clone().any(|line| line.contains("ignore"))
}

/// Names of the form `tests/file.rs::function` in a text.
fn named_tests(text: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || "_/:.".contains(c);
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("tests/"));
    words.filter(|word| word.contains("::")).map(|word| word.trim_end_matches('.').into()).collect()
}

#[test]
fn each_flag_names_a_test_that_exists() {
    let missing = FLAGS.iter().filter(|flag| !is_test(flag.test));
    let missing: Vec<String> = missing.map(|f| format!("--{}: {}", f.name, f.test)).collect();
    fails("flags without a test", &missing);
}

/// Name of the flag and of its test in the rows of the load generator's tables.
fn rows_of_load_flags() -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (path, text) in files("src/bin/millrace-load", "rs") {
        let text = text.split("#[cfg(test)]").next().unwrap();
        for row in text.lines().map(str::trim).filter(|line| line.starts_with("flag(")) {
            let words: Vec<&str> = row.split('"').collect();
            let name = row.split_once(", (\"").unwrap().1.split('"').next().unwrap();
            let test = words[words.len() - 2];
            let shown = format!("{path}: --{name}");
            rows.push((shown, test.to_owned()));
        }
    }
    rows
}

#[test]
fn each_flag_of_the_load_names_a_test_that_gives_it() {
    let rows = rows_of_load_flags();
    assert!(rows.len() > 30, "{rows:?}");
    let gives = |shown: &str, test: &str| {
        let flag = shown.split_once(": ").unwrap().1;
        let (file, function) = test.split_once("::").unwrap();
        let text = read(file);
        let body = text.split_once(&format!("fn {function}(")).unwrap().1;
        body.split("#[test]").next().unwrap().contains(flag)
    };
    let missing = rows.iter().filter(|(shown, test)| !is_test(test) || !gives(shown, test));
    let missing: Vec<String> = missing.map(|(shown, test)| format!("{shown}: {test}")).collect();
    fails("flags of the load without a test that gives them", &missing);
}

/// Doc comments of limits.rs with the name of the constant below.
fn limits() -> Vec<(String, String)> {
    let (mut doc, mut found) = (String::new(), Vec::new());
    for line in read("src/limits.rs").lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            doc.push_str(text);
            doc.push('\n');
        } else if let Some(name) = line.strip_prefix("pub const ") {
            let name = name.split(':').next().unwrap_or_default();
            found.push((name.to_owned(), std::mem::take(&mut doc)));
        } else {
            doc.clear();
        }
    }
    found
}

#[test]
fn each_limit_names_a_test_that_hits_it() {
    let mut missing = Vec::new();
    for (name, doc) in limits() {
        let tests = named_tests(&doc);
        let is_bound = doc.contains("LIMIT:") || name.ends_with("_MAX") || !tests.is_empty();
        if is_bound && (tests.is_empty() || !tests.iter().all(|test| is_test(test))) {
            missing.push(format!("{name}: {tests:?}"));
        }
    }
    fails("limits without a test", &missing);
}

#[test]
fn each_invariant_names_a_test_that_exists() {
    let page = read("src/lib.rs");
    let mut missing = Vec::new();
    for number in 1..=14 {
        let row = page.lines().find(|line| line.starts_with(&format!("//! | N{number} ")));
        let tests = row.map(named_tests).unwrap_or_default();
        if tests.is_empty() || !tests.iter().all(|test| is_test(test)) {
            missing.push(format!("N{number}: {tests:?}"));
        }
    }
    fails("invariants without a test", &missing);
}

#[test]
fn no_test_is_ignored_and_none_sleeps() {
    let mut offenders = Vec::new();
    let words = ["#[ignore", concat!("thread::", "sleep"), "assert!(true)"];
    for (path, text) in files("tests", "rs") {
        if path == "tests/tidy.rs" {
            continue;
        }
        let found = code(&text).filter(|line| words.iter().any(|word| line.contains(word)));
        offenders.extend(found.map(|line| format!("{path}: {line}")));
    }
    fails("tests that are ignored or sleep", &offenders);
}

#[test]
fn the_top_level_is_the_agreed_one() {
    let allowed = ["Cargo.toml", "Cargo.lock", "src", "tests", "scripts", "README.md", "LICENSE"];
    let mut offenders = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') && name != "target" && !allowed.contains(&name.as_str()) {
            offenders.push(name);
        }
    }
    fails("other entries at the top level", &offenders);
}

//! `millrace-load plot` as a command: files in, pictures out, sentences for what is wrong.

use std::fs;
use std::process::{Command, Output};

fn plot(flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-load"));
    command.arg("plot").args(flags).output().unwrap()
}

#[test]
fn a_file_becomes_a_picture() {
    let folder = std::env::temp_dir().join(format!("millrace-plot-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (csv, svg) = (folder.join("in.csv"), folder.join("out.svg"));
    let (csv, svg) = (csv.to_str().unwrap(), svg.to_str().unwrap());
    fs::write(csv, "players,latency_p99_ms\n100,1\n1000,2\n10000,4\n").unwrap();
    let flags = ["--csv", csv, "--x", "players", "--y", "latency_p99_ms", "--title", "A & B"];

    let linear = plot(&flags);
    assert!(linear.status.success(), "{linear:?}");
    let linear = String::from_utf8(linear.stdout).unwrap();
    assert!(linear.starts_with("<svg ") && linear.ends_with("</svg>\n"));
    assert!(linear.contains(">A &amp; B<") && linear.contains(">latency p99, ms<"));
    // The point in the middle of the decades is in the middle of a logarithmic axis only.
    let log = plot(&[&flags[..], &["--x-log", "--svg", svg]].concat());
    assert!(log.status.success() && log.stdout.is_empty(), "{log:?}");
    let log = fs::read_to_string(svg).unwrap();
    let middle = "<circle cx=\"480.0\"";
    assert!(log.contains(middle) && !linear.contains(middle));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_marked_value_is_a_line_across() {
    let csv = std::env::temp_dir().join(format!("millrace-mark-{}.csv", std::process::id()));
    fs::write(&csv, "figure,ratio\ncpu,0.25\nlatency,0.75\n").unwrap();
    let flags = ["--csv", csv.to_str().unwrap(), "--x", "figure", "--y", "ratio"];
    let svg = |more: &[&str]| String::from_utf8(plot(&[&flags, more].concat()).stdout).unwrap();
    let height = |svg: &str, class: &str| -> f64 {
        let element = svg.split('<').find(|element| element.contains(class)).unwrap();
        element.split(" y1=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    };
    let (none, low, high) = (svg(&[]), svg(&["--mark", "0.5"]), svg(&["--mark=1"]));
    fs::remove_file(&csv).unwrap();

    let class = "class=\"mark\"";
    assert!(!none.contains(class) && low.contains(">0.5</text>"), "{low}");
    assert!(height(&high, class) < height(&low, class), "a larger value is higher");
    // The axis goes as far as the mark does, which no value reaches.
    assert!(!none.contains(">1.0</text>") && high.contains(">1.0</text>"), "{high}");
}

#[test]
fn wrong_flags_are_told_in_one_sentence() {
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--csv", "a", "--x", "a", "--y", "b", "--mark", "x"], 2, "--mark 'x' is not allowed"),
        (&["--x", "a", "--y", "b"], 2, "--csv '' is not allowed: give a file"),
        (&["--csv", "a", "--x", "a", "--y", ","], 2, "--y ',' is not allowed"),
        (&["--csv", "a", "--x", "a", "--y", "b", "c"], 2, "'c' is not a flag"),
        (&["--no"], 2, "Unrecognized option: 'no'"),
        (&["--csv", "/nowhere/a", "--x", "a", "--y", "b"], 1, "/nowhere/a: No such file"),
    ];
    for (flags, code, sentence) in cases {
        let output = plot(flags);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {said}");
        assert!(said.contains(sentence) && said.lines().count() == 1, "{flags:?}: {said}");
    }
    let help = plot(&["--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("--x COLUMN"));
}

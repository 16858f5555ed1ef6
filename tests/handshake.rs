//! The handshake of both roles against computed vectors and captured clients.
mod support;

use hmac::{Hmac, KeyInit, Mac};
use millrace::rtmp::ProtocolError;
use millrace::rtmp::handshake::{ClientHandshake, ServerHandshake};
use serde_json::Value;
use sha2::Sha256;
use support::{hex, vectors};

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// The digest position of a packet by the written rule.
fn position(packet: &[u8], schema: u8) -> usize {
    let at = if schema == 0 { 772 } else { 8 };
    packet[at..at + 4].iter().map(|&b| b as usize).sum::<usize>() % 728 + at + 4
}

fn digest_of(packet: &[u8], schema: u8, key: &[u8]) -> Option<Vec<u8>> {
    let at = position(packet, schema);
    let without = [&packet[..at], &packet[at + 32..]].concat();
    let expected = hmac(key, &without);
    (packet[at..at + 32] == expected).then_some(expected)
}

fn serve(input: &[u8]) -> Result<(Vec<u8>, bool, usize), ProtocolError> {
    let mut server = ServerHandshake::new();
    let mut out = Vec::new();
    let mut rest = input;
    let done = server.handle_input(&mut rest, &mut out)?;
    Ok((out, done, rest.len()))
}

fn key(file: &Value, name: &str) -> Vec<u8> {
    hex(file["keys"][name].as_str().unwrap())
}

#[test]
fn every_vector_gets_the_answer_its_form_demands() {
    let file = vectors("handshake.json");
    let mut modes = Vec::new();
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if let Some(c0) = case["c0"].as_str() {
            let version = hex(c0)[0];
            assert_eq!(serve(&[version]), Err(ProtocolError::UnsupportedVersion { version }));
            modes.push("refused");
            continue;
        }
        let c0c1 = hex(case["c0c1"].as_str().unwrap());
        let (out, done, _) = serve(&c0c1).unwrap();
        assert_eq!((out.len(), done), (3073, false), "{name}: S0 S1 S2 before C2");
        let (s1, s2) = (&out[1..1537], &out[1537..]);
        let schema = [0, 1]
            .into_iter()
            .find(|&schema| digest_of(&c0c1[1..], schema, &key(&file, "player_30")).is_some());
        let Some(schema) = schema.filter(|_| c0c1[5..9] != [0; 4]) else {
            assert_eq!(s1[4..8], [0; 4], "{name}: ffmpeg verifies a plain S1 with a version");
            assert_eq!(s2, &c0c1[1..], "{name}: S2 repeats C1");
            modes.push("plain");
            continue;
        };
        let c1_digest = digest_of(&c0c1[1..], schema, &key(&file, "player_30")).unwrap();
        assert!(digest_of(s1, schema, &key(&file, "server_36")).is_some(), "{name}: S1 digest");
        let s2_key = hmac(&key(&file, "server_68"), &c1_digest);
        assert_eq!(hmac(&s2_key, &s2[..1504]), &s2[1504..], "{name}: hashed S2");
        modes.push(if schema == 0 { "schema 0" } else { "schema 1" });
    }
    for mode in ["plain", "schema 0", "schema 1", "refused"] {
        assert!(modes.contains(&mode), "no vector for {mode}");
    }
}

#[test]
fn captured_clients_are_answered_in_their_form() {
    let file = vectors("captured.json");
    for case in file["cases"].as_array().unwrap() {
        let c0c1 = hex(case["c0c1"].as_str().unwrap());
        let (out, ..) = serve(&c0c1).unwrap();
        let is_plain = out[1537..] == c0c1[1..];
        assert_eq!(is_plain, c0c1[5..9] == [0; 4], "{}", case["name"]);
    }
}

#[test]
fn the_answer_is_the_same_at_every_cut_and_what_follows_c2_stays() {
    let file = vectors("handshake.json");
    for case in file["cases"].as_array().unwrap() {
        let Some(c2) = case["c2"].as_str() else { continue };
        let c0c1 = hex(case["c0c1"].as_str().unwrap());
        let hello = [&c0c1[..], &hex(c2), b"connect"].concat();
        let (whole, ..) = serve(&hello).unwrap();
        for cut in 0..hello.len() {
            let mut server = ServerHandshake::new();
            let (mut out, mut left) = (Vec::new(), Vec::new());
            let mut is_done = false;
            for mut part in [&hello[..cut], &hello[cut..]] {
                is_done = server.handle_input(&mut part, &mut out).unwrap();
                left.extend_from_slice(part);
                let is_answered = out.len() == 3073;
                assert!(is_answered || out.is_empty(), "S0 S1 S2 come in one piece");
            }
            assert!(is_done && out == whole && left == b"connect", "cut at {cut}");
            assert_eq!(server.buffered_bytes(), 0);
        }
    }
}

#[test]
fn s2_does_not_wait_for_c2_and_comes_with_the_last_byte_of_c1() {
    let file = vectors("handshake.json");
    let c0c1 = hex(file["cases"][2]["c0c1"].as_str().unwrap());
    let mut server = ServerHandshake::new();
    let mut out = Vec::new();
    for byte in &c0c1[..1536] {
        assert_eq!(server.handle_input(&mut &[*byte][..], &mut out), Ok(false));
    }
    assert!(out.is_empty());
    assert_eq!(server.handle_input(&mut &c0c1[1536..], &mut out), Ok(false));
    assert_eq!(out.len(), 3073);
}

/// C2 is not verified: GStreamer and ffmpeg send other bytes than the specification asks for.
#[test]
fn any_c2_will_do() {
    let file = vectors("captured.json");
    for case in file["cases"].as_array().unwrap() {
        let c0c1 = hex(case["c0c1"].as_str().unwrap());
        for c2 in [hex(case["c2"].as_str().unwrap()), vec![0; 1536], vec![0xFF; 1536]] {
            let (out, done, left) = serve(&[&c0c1[..], &c2, b"\x02"].concat()).unwrap();
            assert_eq!((out.len(), done, left), (3073, true, 1));
        }
    }
}

#[test]
fn a_digest_with_one_wrong_byte_gets_the_plain_answer() {
    let file = vectors("handshake.json");
    for case in file["cases"].as_array().unwrap() {
        let Some(at) = case["c1_digest_pos"].as_u64() else { continue };
        let mut c0c1 = hex(case["c0c1"].as_str().unwrap());
        c0c1[1 + at as usize + 31] ^= 1;
        let (out, ..) = serve(&c0c1).unwrap();
        assert_eq!(out[5..9], [0; 4], "{}", case["name"]);
        assert_eq!(out[1537..], c0c1[1..], "{}", case["name"]);
    }
}

#[test]
fn a_c1_without_a_version_gets_the_plain_answer_even_if_it_is_signed() {
    let file = vectors("handshake.json");
    let cases = file["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == "digest_schema1").unwrap();
    let mut c0c1 = hex(case["c0c1"].as_str().unwrap());
    c0c1[5..9].fill(0);
    let at = 1 + position(&c0c1[1..], 1);
    let digest = hmac(&key(&file, "player_30"), &[&c0c1[1..at], &c0c1[at + 32..]].concat());
    c0c1[at..at + 32].copy_from_slice(&digest);
    let (out, ..) = serve(&c0c1).unwrap();
    assert_eq!(out[5..9], [0; 4]);
    assert_eq!(out[1537..], c0c1[1..]);
}

#[test]
fn any_first_byte_but_3_is_refused_with_nothing_written() {
    for version in (0..=255).filter(|&version| version != 3) {
        let mut out = Vec::new();
        let result = ServerHandshake::new().handle_input(&mut &[version, 0, 0][..], &mut out);
        assert_eq!(result, Err(ProtocolError::UnsupportedVersion { version }));
        assert!(out.is_empty());
    }
}

/// Runs both roles against each other, `step` bytes at a time, `tail` behind C2.
fn join(digest: bool, step: usize, tail: &[u8]) -> (bool, bool, Vec<u8>) {
    let mut to_server = Vec::new();
    let mut to_client = Vec::new();
    let mut client = ClientHandshake::start(digest, 7, &mut to_server);
    let mut server = ServerHandshake::new();
    let (mut client_done, mut server_done) = (false, false);
    let mut left = Vec::new();
    for _ in 0..100_000 {
        let count = step.min(to_server.len());
        let part: Vec<u8> = to_server.drain(..count).collect();
        let mut input = &part[..];
        if !server_done {
            server_done = server.handle_input(&mut input, &mut to_client).unwrap();
        }
        left.extend_from_slice(input);
        let count = step.min(to_client.len());
        let part: Vec<u8> = to_client.drain(..count).collect();
        if !client_done {
            client_done = client.handle_input(&mut &part[..], &mut to_server).unwrap();
            if client_done {
                to_server.extend_from_slice(tail);
            }
        }
        if client_done && server_done && to_server.is_empty() {
            break;
        }
    }
    (client_done, server_done, left)
}

#[test]
fn both_roles_finish_in_both_forms_at_any_fragmentation() {
    for digest in [false, true] {
        for step in [1, 2, 7, 128, 1535, 1536, 1537, 3072, 3073, 8192] {
            let (client, server, left) = join(digest, step, b"connect");
            assert!(client && server, "digest {digest}, {step} bytes at a time");
            assert_eq!(left, b"connect", "bytes behind C2 stay");
        }
    }
}

#[test]
fn the_client_answers_the_same_at_every_cut() {
    let file = vectors("handshake.json");
    for case in file["cases"].as_array().unwrap() {
        let Some(s0s1s2) = case["s0s1s2"].as_str() else { continue };
        let hello = [hex(s0s1s2), b"more".to_vec()].concat();
        let mut first = None;
        for cut in 0..hello.len() {
            let mut client = ClientHandshake::start(true, 1, &mut Vec::new());
            let (mut out, mut left) = (Vec::new(), Vec::new());
            for mut part in [&hello[..cut], &hello[cut..]] {
                client.handle_input(&mut part, &mut out).unwrap();
                left.extend_from_slice(part);
            }
            assert_eq!((out.len(), &left[..]), (1536, &b"more"[..]), "cut at {cut}");
            assert_eq!(first.get_or_insert(out.clone()), &out, "cut at {cut}");
        }
    }
}

#[test]
fn the_client_refuses_a_server_of_another_version() {
    for version in [6, 8, 9, b'H'] {
        let mut client = ClientHandshake::start(false, 1, &mut Vec::new());
        let result = client.handle_input(&mut &[version][..], &mut Vec::new());
        assert_eq!(result, Err(ProtocolError::UnsupportedVersion { version }));
    }
}

#[test]
fn the_client_signs_c2_when_s1_is_signed() {
    let file = vectors("handshake.json");
    for case in file["cases"].as_array().unwrap() {
        let Some(s0s1s2) = case["s0s1s2"].as_str() else { continue };
        let s0s1s2 = hex(s0s1s2);
        let mut c0c1 = Vec::new();
        let mut client = ClientHandshake::start(true, 1, &mut c0c1);
        let player = key(&file, "player_30");
        assert!(digest_of(&c0c1[1..], 1, &player).is_some(), "C1 is signed in schema 1");
        let mut c2 = Vec::new();
        assert!(client.handle_input(&mut &s0s1s2[..], &mut c2).unwrap());
        let s1 = &s0s1s2[1..1537];
        let digest = (0..2).find_map(|schema| digest_of(s1, schema, &key(&file, "server_36")));
        match digest {
            Some(digest) => {
                let c2_key = hmac(&key(&file, "player_62"), &digest);
                assert_eq!(hmac(&c2_key, &c2[..1504]), &c2[1504..], "{}", case["name"]);
            }
            None => assert_eq!(c2, s1, "{}", case["name"]),
        }
    }
}

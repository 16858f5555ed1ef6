//! Stream names: whatever way a client splits its URL, the same stream has the same key.
mod support;

use millrace::limits::{APP_BYTES_MAX, STREAM_NAME_BYTES_MAX};
use millrace::service::key::{BadName, StreamKey, normal_app};
use support::vectors;

fn key(app: &str, name: &str) -> String {
    StreamKey::new(app.as_bytes(), name.as_bytes()).unwrap().to_string()
}

#[test]
fn every_url_of_the_vectors_has_the_key_of_its_app_and_stream() {
    let file = vectors("urls.json");
    let mut prefixed = 0;
    for case in file["cases"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let url = text("tcUrl").strip_prefix("rtmp://").unwrap();
        let app = url.split_once('/').map_or("", |(_, app)| app);
        // Clients that cannot type `?` write `...vhost...`; here only the explicit parameter counts.
        if app.contains("...vhost...") {
            continue;
        }
        // Who sends no app has none: there is no default application.
        let path = match text("app") {
            "__defaultApp__" => text("stream").to_string(),
            app => format!("{app}/{}", text("stream")),
        };
        let is_explicit = app.contains("?vhost=");
        prefixed += u32::from(is_explicit);
        let prefix = if is_explicit { format!("{}:", text("vhost")) } else { String::new() };
        assert_eq!(key(app, text("name")), format!("{prefix}{path}"), "{url}");
    }
    assert_eq!(prefixed, 1);
}

#[test]
fn clients_that_split_a_url_differently_mean_one_stream() {
    for (app, name) in [
        ("live/room", "s"),
        ("live", "room/s"),
        ("live/", "/room/s/"),
        ("/live//room", "s"),
        ("live/room/_definst_", "s"),
        ("live/_definst_/room", "s?token=a&b=c"),
        ("live/room?token=x", "s"),
        ("", "live/room/s"),
        ("", "/live/room/s"),
    ] {
        assert_eq!(key(app, name), "live/room/s", "{app} and {name}");
    }
    assert_ne!(key("live", "s"), key("live", "S"));
    assert_ne!(key("live", "mp4:s"), key("live", "s"), "file names are not guessed");
}

#[test]
fn only_an_explicit_vhost_parameter_adds_a_prefix() {
    for (app, name) in [
        ("live?vhost=v1", "s"),
        ("live", "s?vhost=v1"),
        ("live", "s?token=a&vhost=v1"),
        ("live?vhost=other", "s?vhost=v1"),
    ] {
        assert_eq!(key(app, name), "v1:live/s", "{app} and {name}");
    }
    for (app, name) in [("live?vhost=", "s"), ("live?domain=v1", "s"), ("live?xvhost=v1", "s")] {
        assert_eq!(key(app, name), "live/s", "{app} and {name}");
    }
}

#[test]
fn names_that_name_nothing_are_refused() {
    for name in ["", "/", "///", "?token=a", "_definst_", "/_definst_/", "a\nb", "a\u{7f}"] {
        assert_eq!(StreamKey::new(b"live", name.as_bytes()), Err(BadName), "{name:?}");
    }
    let long = vec![b'a'; STREAM_NAME_BYTES_MAX + 1];
    assert_eq!(StreamKey::new(b"live", &long), Err(BadName));
    assert!(StreamKey::new(b"live", &long[1..]).is_ok());
    let long = vec![b'a'; APP_BYTES_MAX + 1];
    assert_eq!(StreamKey::new(&long, b"s"), Err(BadName));
    assert!(StreamKey::new(&long[1..], b"s").is_ok());
    // Bytes need not be UTF-8: old encoders send GBK.
    assert_eq!(StreamKey::new(b"live", b"\xc4\xe3").unwrap().as_bytes(), b"live/\xc4\xe3");
}

#[test]
fn the_app_that_is_compared_has_no_query_and_no_surplus() {
    for app in ["live", "live/", "/live", "live?token=x", "live/_definst_", "live//"] {
        assert_eq!(normal_app(app.as_bytes()), b"live", "{app}");
    }
    assert_eq!(normal_app(b"live/room"), b"live/room");
    assert_eq!(normal_app(b""), b"");
}

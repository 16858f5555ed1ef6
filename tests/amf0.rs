//! AMF0 against the vectors, its bounds, and arbitrary bytes.
mod support;

use millrace::rtmp::ProtocolError;
use millrace::rtmp::amf0::{Object, Reader, Value, Writer};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use support::{hex, vectors};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn pairs(object: &Object<'_>) -> Json {
    object.properties().map(|(key, value)| json!([text(key), to_json(&value)])).collect()
}

/// A value in the notation of the vectors.
fn to_json(value: &Value<'_>) -> Json {
    match value {
        Value::Number(number) if number.is_nan() => json!({"number": "NaN"}),
        Value::Number(number) => json!({"number": number}),
        Value::Boolean(value) => json!(value),
        Value::String(bytes) => json!(text(bytes)),
        Value::Object(object) if object.marker == 3 => json!({"object": pairs(object)}),
        Value::Object(object) if object.marker == 8 => json!({"ecma_array": pairs(object)}),
        Value::Object(object) => {
            json!({"typed_object": text(object.class), "members": pairs(object)})
        }
        Value::Null => Json::Null,
        Value::Undefined => json!({"undefined": true}),
        Value::Reference(index) => json!({"reference": index}),
        Value::StrictArray { body, .. } => json!({"strict_array": all(body)}),
        Value::Date(ms) => json!({"date_ms": ms, "tz": 0}),
        Value::Unsupported => json!({"unsupported": true}),
        Value::Xml(bytes) => json!({"xml": text(bytes)}),
        Value::Amf3(_) => json!({"amf3": true}),
    }
}

fn all(body: &[u8]) -> Vec<Json> {
    let mut reader = Reader::new(body);
    let mut values = Vec::new();
    while let Some(value) = reader.next().unwrap() {
        values.push(to_json(&value));
    }
    values
}

/// The vectors say more than the reader keeps (counts, long or short string).
fn expected(value: &Json) -> Json {
    match value {
        Json::Array(values) => values.iter().map(expected).collect(),
        Json::Object(map) => {
            if let Some(long) = map.get("long_string") {
                return long.clone();
            }
            let keep = map.iter().filter(|(key, _)| *key != "count");
            Json::Object(keep.map(|(key, value)| (key.clone(), expected(value))).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn every_vector_is_parsed_to_its_values() {
    let file = vectors("amf0.json");
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 58);
    for case in cases {
        let bytes = hex(case["hex"].as_str().unwrap());
        let mut wanted = case["values"].as_array().unwrap().clone();
        // The format selector of types 15 and 17 is not AMF0.
        let selector = usize::from(wanted[0].get("format_selector").is_some());
        wanted.drain(..selector);
        let values = Json::Array(all(&bytes[selector..]));
        assert_eq!(values, expected(&Json::Array(wanted)), "{}", case["name"]);
    }
}

fn emit(value: &Json, writer: &mut Writer<'_>) -> Option<()> {
    match value {
        Json::Null => drop(writer.null()),
        Json::Bool(value) => drop(writer.boolean(*value)),
        Json::String(value) => drop(writer.string(value.as_bytes())),
        Json::Object(map) => {
            let (kind, content) = map.iter().find(|(key, _)| *key != "count")?;
            match kind.as_str() {
                "number" => drop(writer.number(content.as_f64()?)),
                "undefined" => drop(writer.undefined()),
                "object" | "ecma_array" => {
                    match kind.as_str() {
                        "object" => writer.object(),
                        _ => writer.ecma_array(u32::try_from(map["count"].as_u64()?).ok()?),
                    };
                    for pair in content.as_array()? {
                        writer.key(pair[0].as_str()?.as_bytes());
                        emit(&pair[1], writer)?;
                    }
                    writer.end();
                }
                "strict_array" => {
                    let values = content.as_array()?;
                    writer.strict_array(u32::try_from(values.len()).ok()?);
                    for value in values {
                        emit(value, writer)?;
                    }
                }
                _ => return None,
            }
        }
        _ => return None,
    }
    Some(())
}

#[test]
fn every_vector_of_a_kind_we_send_is_emitted_byte_for_byte() {
    let file = vectors("amf0.json");
    let mut emitted = 0;
    for case in file["cases"].as_array().unwrap() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let values = case["values"].as_array().unwrap();
        if values.iter().try_for_each(|value| emit(value, &mut writer)).is_some() {
            assert_eq!(out, hex(case["hex"].as_str().unwrap()), "{}", case["name"]);
            emitted += 1;
        }
    }
    assert!(emitted >= 45, "only {emitted} were emitted");
}

#[test]
fn truncated_values_are_errors_or_shorter_values_and_never_panic() {
    let file = vectors("amf0.json");
    for case in file["cases"].as_array().unwrap() {
        let bytes = hex(case["hex"].as_str().unwrap());
        for len in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..len]);
            while let Ok(Some(value)) = reader.next() {
                if let Value::Object(object) = value {
                    assert!(object.properties().count() <= len);
                }
            }
        }
    }
}

fn first(bytes: &[u8]) -> Result<Option<Value<'_>>, ProtocolError> {
    Reader::new(bytes).next()
}

#[test]
fn amf3_values_are_skipped_and_scalars_read() {
    // integer -1, string "ab", {a: 1.5}, dense array [1, 2], then an AMF0 null
    let bytes = hex(concat!(
        "1104ffffffff",
        "1106056162",
        "110a0b0103610 53ff800000000000001",
        "11090501040104 02",
        "05"
    )
    .replace(' ', "")
    .as_str());
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.next().unwrap().unwrap().number(), Some(-1.0));
    assert_eq!(reader.next().unwrap().unwrap().string(), Some(&b"ab"[..]));
    assert!(matches!(reader.next(), Ok(Some(Value::Amf3(_)))));
    assert!(matches!(reader.next(), Ok(Some(Value::Amf3(_)))));
    assert_eq!(reader.next(), Ok(Some(Value::Null)));
    assert_eq!(reader.next(), Ok(None));
    assert_eq!(first(&[0x11, 3]).unwrap().unwrap().boolean(), Some(true));
    assert_eq!(first(&[0x11, 0x0a, 7]), Err(ProtocolError::AmfMarker { marker: 0x0a }));
}

#[test]
fn every_amf3_value_is_skipped_as_a_whole_and_none_is_read_in_part() {
    let table: &[(&str, &str)] = &[
        ("undefined", "00"),
        ("null", "01"),
        ("false", "02"),
        ("true", "03"),
        ("integer of one byte", "047f"),
        ("integer of two bytes", "04ff7f"),
        ("integer of three bytes", "04ffff7f"),
        ("integer of four bytes", "04ffffffff"),
        ("double", "053ff8000000000000"),
        ("string", "06056162"),
        ("empty string", "0601"),
        ("string reference", "0602"),
        ("XML document", "07056162"),
        ("date", "08013ff8000000000000"),
        ("date reference", "0802"),
        ("array, dense", "09050104010402"),
        ("array, associative", "0901036104010362040201"),
        ("array reference", "0902"),
        ("object, anonymous and dynamic", "0a0b010361040101"),
        ("object, class and sealed members", "0a2305436303610362 0401 0402"),
        ("object, traits by reference", "0905010a1301036104010a010402"),
        ("object reference", "0a02"),
        ("XML", "0b056162"),
        ("byte array", "0c05abcd"),
        ("vector of int", "0d050000000001ffffffff"),
        ("vector of uint", "0e03010000000 1"),
        ("vector of double", "0f03003ff8000000000000"),
        ("vector of object", "100500056162 0401 0601"),
        ("dictionary", "1105000401060361 06036203"),
        ("dictionary reference", "1102"),
    ];
    for (name, encoding) in table {
        let encoding = hex(&encoding.replace(' ', ""));
        let bytes = [&[0x11], &encoding[..], &[5]].concat();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.next(), Ok(Some(Value::Amf3(&encoding))), "{name}");
        assert_eq!(reader.next(), Ok(Some(Value::Null)), "{name}");
        for len in 1..=encoding.len() {
            assert_eq!(first(&bytes[..len]), Err(ProtocolError::AmfTruncated), "{name} of {len}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut reader = Reader::new(&bytes);
        while let Ok(Some(value)) = reader.next() {
            if let Value::Object(object) = value {
                object.properties().for_each(drop);
            }
        }
    }

    #[test]
    fn numbers_are_echoed_bit_for_bit(bits in any::<u64>()) {
        let mut out = Vec::new();
        Writer::new(&mut out).number(f64::from_bits(bits));
        let Ok(Some(Value::Number(read))) = first(&out) else { panic!("not a number") };
        prop_assert_eq!(read.to_bits(), bits);
    }
}

//! What comes before a request, or names who asks: the PROXY protocol, headers of proxies, viewers' ids and profiles,
//! names, tokens. What has a text of its own is written as it was read.

#![no_main]

use std::{future::Future, net::IpAddr, pin::pin, str::FromStr, task};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use spillway::{
    net::{ForwardedBy, Trust, proxy},
    origin::{profile::Profile, seat::ViewerId, viewers::Mark},
    store::StreamName,
    token::{self, Ring},
};

fuzz_target!(|octets: &[u8]| {
    announced(octets);
    forwarded(octets);
    if let Ok(text) = std::str::from_utf8(octets) {
        same::<Profile>(text);
        same::<StreamName>(text);
        // A key is read in capitals too, a region in any letters.
        stable::<ViewerId>(text);
        stable::<Mark>(text);
        signed(text);
    }
});

/// Reads no more than the header, and ends.
fn announced(octets: &[u8]) {
    let mut rest = octets;
    {
        let mut reading = pin!(proxy::announced(&mut rest));
        let mut context = task::Context::from_waker(task::Waker::noop());
        assert!(
            reading.as_mut().poll(&mut context).is_ready(),
            "it waits for octets that are there"
        );
    }
    assert!(octets.ends_with(rest));
}

fn forwarded(octets: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(octets) else {
        return;
    };
    let peer: IpAddr = "10.0.0.1".parse().expect("an address");
    for header in [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded] {
        let proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        let trust = Trust {
            proxies,
            proxy_protocol: false,
            header,
        };
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-for", "forwarded"] {
            headers.append(HeaderName::from_static(name), value.clone());
        }
        trust.client(peer, &headers);
        let stranger: IpAddr = "192.0.2.1".parse().expect("an address");
        assert_eq!(
            trust.client(stranger, &headers),
            stranger,
            "a stranger is believed"
        );
    }
}

/// What is signed is verified, and nothing else is.
fn signed(text: &str) {
    let ring = Ring::new([("k1".to_owned(), vec![7; 32])]).expect("one key");
    if let Ok(read) = ring.verify(text, 1000) {
        let again = ring.sign_all(&read);
        assert!(again.eq_ignore_ascii_case(text), "{text:?} was not signed");
        let _ = (read.allows("demo", text), read.joins("demo"));
    }
    if token::is_scope(text) {
        let read = ring.sign(text, 1000);
        let read = ring.verify(&read, 1000).expect("what was signed");
        assert_eq!((read.scope, read.expires), (text, 1000));
    }
}

fn same<T: FromStr + ToString>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string(), text);
    }
}

fn stable<T: FromStr + ToString>(text: &str) {
    let Ok(read) = text.parse::<T>() else { return };
    let written = read.to_string();
    let again = written
        .parse::<T>()
        .ok()
        .expect("what was written can be read");
    assert_eq!(again.to_string(), written);
}

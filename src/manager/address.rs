//! Base URLs of nodes: checked where they come in, joined with a path where they go out.

use axum::http::Uri;

/// A base URL without its trailing slash, such as `http://203.0.113.7:8080`.
pub fn base_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let wrong = |rule: &str| Err(format!("{text:?} is not the URL of a node: {rule}"));
    let Ok(uri) = text.parse::<Uri>() else {
        return wrong("it cannot be parsed; http://HOST:PORT is expected");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return wrong("it must start with http:// or https://");
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if uri.host().is_none_or(str::is_empty) || authority.contains('@') {
        return wrong("it must name a host and no user");
    }
    if authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']') && uri.port_u16().is_none())
    {
        return wrong("its port must be 1 to 65535");
    }
    if uri.query().is_some() || uri.path().ends_with(".m3u8") {
        return wrong("it must end before the path of a stream");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// As [`base_url`], for people: `http://` may be left out.
pub fn typed_url(text: &str) -> Result<String, String> {
    if text.contains("://") {
        base_url(text)
    } else {
        base_url(&format!("http://{}", text.trim()))
    }
}

/// 1 to 64 of `A-Z`, `a-z`, `0-9`, `_` and `-`.
pub(super) fn is_stream(name: &str) -> bool {
    is_name(name, b"_-")
}

/// As a stream's name, with dots.
pub(super) fn is_node(name: &str) -> bool {
    is_name(name, b"_-.")
}

fn is_name(name: &str, marks: &[u8]) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || marks.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_loses_its_trailing_slash() {
        for (text, url) in [
            ("http://10.0.0.1:8080/", "http://10.0.0.1:8080"),
            ("https://live.example", "https://live.example"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("http://[::1]", "http://[::1]"),
            ("http://host/origin/", "http://host/origin"),
        ] {
            assert_eq!(base_url(text).as_deref(), Ok(url));
        }
        assert_eq!(typed_url("host:80").as_deref(), Ok("http://host:80"));
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_the_rule() {
        for (text, rule) in [
            ("", "parsed"),
            ("ftp://host", "http://"),
            ("host:80", "http://"),
            ("http://user@host", "no user"),
            ("http://host:99999", "port"),
            ("http://host/live/a/index.m3u8", "path of a stream"),
            ("http://ho st", "parsed"),
        ] {
            let error = base_url(text).unwrap_err();
            assert!(error.contains(rule), "{text}: {error}");
        }
    }
}

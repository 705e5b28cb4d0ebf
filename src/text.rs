//! Text that many are sent (playlists, pages): shared, and compressed at most once however many
//! ask for it. Who may be sent which form is told from the request; what the text says is the
//! caller's business.

use std::{
    io::Write as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::{
    body::{Body, HttpBody as _},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// Clones share it. As an answer it is plain, until [`encode`] sees who asked.
#[derive(Clone, Debug)]
pub struct Text(Arc<Forms>);

#[derive(Debug)]
struct Forms {
    plain: Bytes,
    /// `None`: it would be no shorter.
    gzip: OnceLock<Option<Bytes>>,
    begun: AtomicBool,
}

/// One of the forms of a text.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    pub octets: &'a Bytes,
    pub compressed: bool,
    /// Others may get another.
    pub varies: bool,
}

impl Text {
    /// For one reader: compressing it would cost more than it saves.
    pub fn for_one(text: impl Into<Bytes>) -> Self {
        let text = Self::from(text);
        // There is nobody else yet who could have compressed it.
        let _ = text.0.gzip.set(None);
        text
    }

    pub fn plain(&self) -> &Bytes {
        &self.0.plain
    }

    /// In gzip's format (RFC 1952), if that is worth it. Whoever asks while another is at
    /// compressing it gets the plain form, rather than to wait.
    pub fn gzip(&self) -> Option<&Bytes> {
        let forms = &*self.0;
        if !self.is_long() {
            return None;
        }
        if let Some(done) = forms.gzip.get() {
            return done.as_ref();
        }
        if forms.begun.swap(true, Relaxed) {
            return None;
        }
        let compressed = compress(&forms.plain);
        let compressed = compressed.filter(|compressed| compressed.len() < forms.plain.len());
        forms.gzip.get_or_init(|| compressed).as_ref()
    }

    /// What to send to who does, or does not, understand gzip.
    pub fn form(&self, takes_gzip: bool) -> Form<'_> {
        let varies = self.is_long() && !self.0.gzip.get().is_some_and(Option::is_none);
        let compressed = (varies && takes_gzip).then(|| self.gzip()).flatten();
        Form {
            octets: compressed.unwrap_or(self.plain()),
            compressed: compressed.is_some(),
            varies,
        }
    }

    /// There may be two forms of it.
    fn is_long(&self) -> bool {
        self.0.plain.len() >= WORTH_IT
    }
}

impl<T: Into<Bytes>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(Arc::new(Forms {
            plain: text.into(),
            gzip: OnceLock::new(),
            begun: AtomicBool::new(false),
        }))
    }
}

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        let mut response = Body::from(self.plain().clone()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Whether who sent these lines of `Accept-Encoding` understands gzip (RFC 9110 section 12.5.3).
pub fn takes_gzip<'a>(lines: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut any = None;
    for coding in lines
        .filter_map(|line| std::str::from_utf8(line).ok())
        .flat_map(|line| line.split(','))
    {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        let wanted = weight.parse::<f32>().is_ok_and(|weight| weight > 0.0);
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") => return wanted,
            "*" => any = Some(wanted),
            _ => {}
        }
    }
    any.unwrap_or(false)
}

/// Gives the answer that carries a [`Text`] its shortest form that whoever asked understands.
pub fn encode(response: &mut Response, gzip: bool) {
    let Some(text) = response.extensions_mut().remove::<Text>() else {
        return;
    };
    let form = text.form(gzip);
    let headers = response.headers_mut();
    if form.varies {
        // A cache must not give the compressed form to whom did not ask for it.
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if !form.compressed {
        return;
    }
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    // The answer to HEAD says the length of a body that it has not.
    headers.insert(header::CONTENT_LENGTH, form.octets.len().into());
    if !response.body().is_end_stream() {
        *response.body_mut() = Body::from(form.octets.clone());
    }
}

/// Playlists repeat themselves so much that little effort is enough: a long one (a DVR window of
/// hours) must not hold up the thread that came across it first.
fn compress(plain: &[u8]) -> Option<Bytes> {
    let level = if plain.len() > LONG { 1 } else { 6 };
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::new(level));
    encoder.write_all(plain).ok()?;
    Some(encoder.finish().ok()?.into())
}

/// Below this it is one packet either way.
const WORTH_IT: usize = 1200;

const LONG: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn gzip_is_for_who_takes_it() {
        for (lines, takes) in [
            (&["gzip"][..], true),
            (&["deflate, GZIP;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["*"], true),
            (&["*, gzip;q=0"], false),
            (&["gzip; q=0.0"], false),
            (&["identity"], false),
            (&["x-gzipped"], false),
            (&[], false),
        ] {
            let said = lines.iter().map(|line| line.as_bytes());
            assert_eq!(takes_gzip(said), takes, "{lines:?}");
        }
    }

    #[test]
    fn a_long_text_is_compressed_once_and_comes_out_as_it_went_in() {
        let long = "#EXTINF:2.00000,\n1000.m4s\n".repeat(20_000);
        let text = Text::from(long.clone());
        let first = text.gzip().unwrap().clone();
        assert!(first.len() < long.len() / 50, "{}", first.len());
        let again = text.clone();
        assert_eq!(again.gzip().unwrap().as_ptr(), first.as_ptr(), "shared");
        let mut out = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&first[..]);
        decoder.read_to_string(&mut out).unwrap();
        assert_eq!(out, long);
    }

    #[test]
    fn a_short_text_stays_plain_and_so_does_what_does_not_shrink() {
        assert!(Text::from("#EXTM3U\n").gzip().is_none());
        let mut random = vec![0; 5000];
        getrandom::fill(&mut random).unwrap();
        assert!(Text::from(random).gzip().is_none());
    }
}

//! Playback tokens: whoever holds one may watch what its scope says, until it expires.
//!
//! A token is `{key id}.{expiry}.{scope}.{mac}` or `{key id}.{expiry}.{scope}.{class}.{mac}`, all of it safe in
//! URLs: the expiry in seconds since 1970, the class of viewers that its holder is of, the mac of what stands before
//! it (HMAC-SHA256, RFC 2104, its first 16 octets in hexadecimal).
//! It stands in the path, before `/live/`, so that every relative name in a playlist inherits it.
//!
//! Two kinds. What an operator signs is for *joining* a stream, or several. What a node gives to who
//! joined with one is for *playing*: it is for that viewer alone and lasts as long as a session may,
//! so that nobody is cut off in mid-play by the expiry of what it joined with.
//!
//! Pure; files of keys are `keys`', and where in a request a token stands is the origin's business.

pub mod keys;
pub mod mint;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The keys of a node, of which the first signs.
#[derive(Debug)]
pub struct Ring(Vec<Key>);

struct Key {
    id: String,
    mac: Hmac<Sha256>,
}

/// What a token says, once it was found to be genuine and of now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token<'a> {
    pub scope: &'a str,
    /// Of whom its holder is one, by the word of whoever signed it.
    pub class: Option<&'a str>,
    /// Seconds since 1970.
    pub expires: u64,
}

/// Why a token is of no use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error("a token is needed here")]
    Missing,
    #[error("this is no token; one is KEY.EXPIRY.SCOPE.MAC or KEY.EXPIRY.SCOPE.CLASS.MAC")]
    Shape,
    #[error("the token's key {0:?} is none of this node's")]
    Key(String),
    #[error("the token was not signed with the key that it names")]
    Forged,
    #[error("the token expired {0} s ago")]
    Expired(u64),
    #[error("the token is for {0}, not for this")]
    Scope(String),
}

impl Ring {
    /// Keys by their ids; `None` without one, or if two have the same id.
    pub fn new(keys: impl IntoIterator<Item = (String, Vec<u8>)>) -> Option<Self> {
        let mut ring: Vec<Key> = Vec::new();
        for (id, secret) in keys {
            let mac = Hmac::new_from_slice(&secret).ok()?;
            if ring.iter().any(|key| key.id == id) {
                return None;
            }
            ring.push(Key { id, mac });
        }
        (!ring.is_empty()).then_some(Self(ring))
    }

    /// A token for `scope` until `expires`, in seconds since 1970.
    pub fn sign(&self, scope: &str, expires: u64) -> String {
        let class = None;
        self.sign_all(&Token {
            scope,
            class,
            expires,
        })
    }

    /// A token that says all this.
    pub fn sign_all(&self, token: &Token<'_>) -> String {
        let key = &self.0[0];
        let mut said = format!("{}.{}.{}", key.id, token.expires, token.scope);
        if let Some(class) = token.class {
            said.extend([".", class]);
        }
        let mac = key.mac.clone().chain_update(CONTEXT).chain_update(&said);
        let mac = mac.finalize().into_bytes();
        let head = mac
            .first_chunk::<MAC>()
            .map_or(0, |head| u128::from_be_bytes(*head));
        format!("{said}.{head:032x}")
    }

    /// What `text` says, if it is one of ours and has not expired at `now`, in seconds since 1970.
    pub fn verify<'a>(&self, text: &'a str, now: u64) -> Result<Token<'a>, Fault> {
        let (said, mac) = text.rsplit_once('.').ok_or(Fault::Shape)?;
        let mut fields = said.split('.');
        let (Some(id), Some(expires), Some(scope)) = (fields.next(), fields.next(), fields.next())
        else {
            return Err(Fault::Shape);
        };
        let class = fields.next();
        if fields.next().is_some() || class.is_some_and(str::is_empty) {
            return Err(Fault::Shape);
        }
        let digits = mac.len() == 2 * MAC && mac.bytes().all(|b| b.is_ascii_hexdigit());
        let mac = u128::from_str_radix(mac, 16).ok().filter(|_| digits);
        let mac = mac.ok_or(Fault::Shape)?.to_be_bytes();
        let expires: u64 = expires.parse().map_err(|_| Fault::Shape)?;
        let key = self.0.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| Fault::Key(id.chars().take(LONGEST_ID).collect()))?;
        let genuine = key.mac.clone().chain_update(CONTEXT).chain_update(said);
        // Takes as long wherever the difference is.
        if genuine.verify_truncated_left(&mac).is_err() {
            return Err(Fault::Forged);
        }
        match now.checked_sub(expires) {
            Some(late) if late > LEEWAY => Err(Fault::Expired(late)),
            _ => Ok(Token {
                scope,
                class,
                expires,
            }),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Token<'_> {
    /// Whether it is for what lies at `/live/{stream}/{rest}`.
    pub fn allows(&self, stream: &str, rest: &str) -> Result<(), Fault> {
        let allowed = match self.scope.split_once('~') {
            None => covers(self.scope, stream),
            Some((own, role)) => own == stream && plays(role, rest),
        };
        allowed
            .then_some(())
            .ok_or_else(|| Fault::Scope(self.scope.to_owned()))
    }

    /// Whether it is of the kind that streams are joined with, and for this one.
    pub fn joins(&self, stream: &str) -> bool {
        covers(self.scope, stream)
    }
}

/// The scope of who joined `stream` and is the viewer with this key.
pub fn of_viewer(stream: &str, key: u64) -> String {
    format!("{stream}~{key:016x}")
}

/// The scope of who joined `stream` to choose rungs by itself.
pub fn of_ladder(stream: &str) -> String {
    format!("{stream}~ladder")
}

/// The scope of who looks at the stills of `stream`.
pub fn of_stills(stream: &str) -> String {
    format!("{stream}~stills")
}

/// A stream's name, or the beginning of several streams' names and `*`.
fn covers(scope: &str, stream: &str) -> bool {
    match scope.strip_suffix('*') {
        Some(beginning) => stream.starts_with(beginning),
        None => scope == stream,
    }
}

/// What a player needs once it has joined, and no more: no other viewer's world, no other join, and
/// the playlists of single rungs only for who has the whole ladder.
fn plays(role: &str, rest: &str) -> bool {
    // No name of ours has to be written in another way; one that is means to be taken for another.
    if rest.contains('%') {
        return false;
    }
    match rest.strip_prefix("v/") {
        Some(world) => {
            let viewer = world.split(['.', '/']).next().unwrap_or_default();
            role.len() == VIEWER && viewer.eq_ignore_ascii_case(role)
        }
        None if rest == "index.m3u8" => false,
        None => role == "ladder" || !rest.ends_with(".m3u8"),
    }
}

/// A scope that can be signed: 1 to 64 of what names of streams are made of, with or without `*` at
/// the end; or `*`.
pub fn is_scope(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    let named = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && name.len() <= 64 && name.bytes().all(named)
}

/// A name of a class that can be signed, or of a key.
pub fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && is_scope(text) && !text.ends_with('*')
}

/// So that what these keys sign for another purpose is never a token.
const CONTEXT: &[u8] = b"spillway playback token 1\n";

/// Octets. Half of the digest, the least that RFC 2104 section 5 would leave of it.
const MAC: usize = 16;

/// How far clocks of nodes and of signers may differ, in seconds.
const LEEWAY: u64 = 30;

const LONGEST_ID: usize = 32;

/// Digits of a viewer's key.
const VIEWER: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn ring(ids: &[&str]) -> Ring {
        let keys = ids
            .iter()
            .map(|id| ((*id).to_owned(), format!("secret of {id}").into_bytes()));
        Ring::new(keys).unwrap()
    }

    #[test]
    fn a_token_is_good_for_its_scope_until_it_expires() {
        let ring = ring(&["k1"]);
        let text = ring.sign("demo", NOW + 60);
        let token = ring.verify(&text, NOW).unwrap();
        assert_eq!((token.scope, token.expires), ("demo", NOW + 60));
        assert_eq!(token.allows("demo", "index.m3u8"), Ok(()));
        assert_eq!(
            token.allows("other", "index.m3u8"),
            Err(Fault::Scope("demo".into()))
        );
        assert!(
            ring.verify(&text, NOW + 60 + LEEWAY).is_ok(),
            "clocks differ"
        );
        assert_eq!(ring.verify(&text, NOW + 100), Err(Fault::Expired(40)));
    }

    #[test]
    fn nothing_in_a_token_can_be_changed() {
        let ring = ring(&["k1", "k2"]);
        let text = ring.sign("demo", NOW + 60);
        for (from, to, fault) in [
            ("demo", "live", Fault::Forged),
            ("18000", "19000", Fault::Forged),
            ("k1", "k2", Fault::Forged),
            ("k1", "k3", Fault::Key("k3".into())),
            (".demo", "", Fault::Shape),
            ("demo", "demo.premium", Fault::Forged),
            ("demo", "demo.", Fault::Shape),
            ("demo", "demo.a.b", Fault::Shape),
        ] {
            assert_eq!(
                ring.verify(&text.replacen(from, to, 1), NOW),
                Err(fault),
                "{from}"
            );
        }
        for text in [
            "",
            ".",
            "...",
            "k1.1.demo",
            "k1.x.demo.00000000000000000000000000000000",
        ] {
            assert_eq!(ring.verify(text, NOW), Err(Fault::Shape), "{text}");
        }
    }

    #[test]
    fn a_class_is_signed_like_all_else() {
        let ring = ring(&["k1"]);
        let premium = Token {
            scope: "demo",
            class: Some("premium"),
            expires: NOW + 60,
        };
        let text = ring.sign_all(&premium);
        assert_eq!(ring.verify(&text, NOW), Ok(premium));
        for (from, to) in [
            (".premium", ""),
            ("premium", "other"),
            ("demo.premium", "premium.demo"),
        ] {
            let bent = text.replacen(from, to, 1);
            assert_eq!(ring.verify(&bent, NOW), Err(Fault::Forged), "{bent}");
        }
    }

    #[test]
    fn a_key_that_has_made_room_for_another_is_still_good() {
        let before = ring(&["old"]).sign("*", NOW + 60);
        let now = ring(&["new", "old"]);
        assert!(now.verify(&before, NOW).is_ok());
        assert!(now.sign("*", NOW).starts_with("new."));
        assert_eq!(
            ring(&["new"]).verify(&before, NOW),
            Err(Fault::Key("old".into()))
        );
    }

    #[test]
    fn a_scope_is_a_stream_or_all_that_begin_alike() {
        for (scope, stream, joins) in [
            ("demo", "demo", true),
            ("demo", "demo2", false),
            ("demo*", "demo2", true),
            ("acme-*", "acme-news", true),
            ("acme-*", "acne-news", false),
            ("*", "anything", true),
        ] {
            let token = Token {
                scope,
                class: None,
                expires: NOW,
            };
            assert_eq!(token.joins(stream), joins, "{scope} {stream}");
            assert_eq!(token.allows(stream, "720p.m3u8").is_ok(), joins);
        }
    }

    #[test]
    fn who_plays_reaches_its_own_world_and_the_media() {
        let own = of_viewer("demo", 0xa11ce);
        let ladder = of_ladder("demo");
        for (rest, viewer, whole) in [
            ("v/00000000000a11ce.paris/index.m3u8", true, false),
            ("v/00000000000a11ce.paris.n.m720/1000.m4s", true, false),
            ("v/0000000000000b0b.paris/index.m3u8", false, false),
            ("v/00000000000a11ce00.paris/index.m3u8", false, false),
            ("index.m3u8", false, false),
            ("720p.m3u8", false, true),
            ("720p%2Em3u8", false, false),
            ("7/init.mp4", true, true),
            ("7/720p/1000.m4s", true, true),
        ] {
            for (scope, allowed) in [(&own, viewer), (&ladder, whole)] {
                let token = Token {
                    scope,
                    class: None,
                    expires: NOW,
                };
                assert_eq!(
                    token.allows("demo", rest).is_ok(),
                    allowed,
                    "{scope} {rest}"
                );
                assert!(token.allows("other", rest).is_err());
                assert!(!token.joins("demo"));
            }
        }
    }

    #[test]
    fn what_is_shown_of_a_key_is_not_its_secret() {
        let shown = format!("{:?}", ring(&["k1"]));
        assert!(shown.contains("k1") && shown.len() < 60, "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_signed_is_verified_and_safe_in_a_path(
            scope in "[a-zA-Z0-9_-]{1,64}[*]?", class in prop::option::of("[a-zA-Z0-9_-]{1,32}"), ahead in 0u64..1_000_000,
        ) {
            prop_assert!(is_scope(&scope) && class.as_deref().is_none_or(is_id));
            let ring = ring(&["k1"]);
            let token = Token { scope: &scope, class: class.as_deref(), expires: NOW + ahead };
            let text = ring.sign_all(&token);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~*".contains(&b)));
            prop_assert_eq!(ring.verify(&text, NOW), Ok(token));
        }

        #[test]
        fn no_text_is_more_than_a_fault(text: String, at in 0usize..80, with: char) {
            let ring = ring(&["k1"]);
            prop_assert!(ring.verify(&text, NOW).is_err());
            let good = ring.sign("demo", NOW);
            let bent: String = good.chars().enumerate()
                .map(|(index, c)| if index == at { with } else { c })
                .collect();
            // A digit of the mac may be written large.
            prop_assert!(bent.eq_ignore_ascii_case(&good) || ring.verify(&bent, NOW).is_err());
        }
    }
}

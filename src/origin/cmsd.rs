//! Common Media Server Data (CTA-5006): what this node says of an object, and of the path to whoever
//! gets it, for players that would rather not guess.
//!
//! `CMSD-Static` is true of the object wherever it is kept; `CMSD-Dynamic` of this one answer, under the
//! name of this node. Pure: only the writing is here.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use playlists::{Bitrate, MediaTime};

/// Of the object.
#[derive(Clone, Copy, Debug)]
pub struct Static {
    /// `ot`: the sound is in it.
    pub sound: bool,
    /// `br`: of the rung.
    pub rate: Bitrate,
    /// `d`: of the segment or part.
    pub duration: MediaTime,
    /// `st`: it comes in parts, so that a low latency is meant.
    pub parts: bool,
    /// `st`: no more comes.
    pub ended: bool,
}

/// Of this answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dynamic<'a> {
    /// Who says it.
    pub node: &'a str,
    /// `etp`: what the path is thought to carry.
    pub throughput: Option<Bitrate>,
    /// `rtt`: the smallest seen.
    pub round_trip: Option<Duration>,
    /// `mb`: the most that this viewer is to choose.
    pub most: Option<Bitrate>,
    /// `rd`: from the request to the answer, waiting for the media included.
    pub delay: Duration,
    /// `du`: this node has more to send than it can.
    pub duress: bool,
}

/// The value of `CMSD-Static`.
impl fmt::Display for Static {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.ended, self.parts) {
            (true, _) => "v",
            (false, true) => "ll",
            (false, false) => "l",
        };
        let millis = self.duration.duration().as_millis();
        let object = if self.sound { "av" } else { "v" };
        write!(
            f,
            "br={},d={millis},ot={object},sf=h,st={kind}",
            self.rate.kbps()
        )
    }
}

/// The value of `CMSD-Dynamic`.
impl fmt::Display for Dynamic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        // A string of RFC 8941 section 3.3.3.
        for c in self.node.chars().filter(|c| matches!(c, ' '..='~')) {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')?;
        if self.duress {
            f.write_str(";du")?;
        }
        if let Some(rate) = self.throughput {
            write!(f, ";etp={}", rate.kbps())?;
        }
        if let Some(rate) = self.most {
            // Not below what the variant is declared with: players drop those that are dearer.
            write!(f, ";mb={}", rate.bps().div_ceil(1000))?;
        }
        write!(f, ";rd={}", self.delay.as_millis())?;
        if let Some(round_trip) = self.round_trip.filter(|time| !time.is_zero()) {
            let millis = round_trip.as_micros().div_ceil(1000);
            write!(f, ";rtt={millis}")?;
        }
        Ok(())
    }
}

pub const STATIC: &str = "cmsd-static";
pub const DYNAMIC: &str = "cmsd-dynamic";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_told_as_the_standard_writes_it() {
        let mut object = Static {
            sound: true,
            rate: Bitrate::from_kbps(3200),
            duration: MediaTime::from_seconds(2.0),
            parts: true,
            ended: false,
        };
        assert_eq!(object.to_string(), "br=3200,d=2000,ot=av,sf=h,st=ll");
        (object.ended, object.sound) = (true, false);
        assert_eq!(object.to_string(), "br=3200,d=2000,ot=v,sf=h,st=v");
    }

    #[test]
    fn a_path_is_told_as_far_as_it_is_known() {
        let unknown = Dynamic {
            node: "node-1",
            ..Dynamic::default()
        };
        assert_eq!(unknown.to_string(), "\"node-1\";rd=0");
        let known = Dynamic {
            node: "a \"b\"\n",
            throughput: Some(Bitrate::from_kbps(5100)),
            round_trip: Some(Duration::from_micros(23_400)),
            most: Some(Bitrate::from_bps(3_199_001)),
            delay: Duration::from_millis(180),
            duress: true,
        };
        assert_eq!(
            known.to_string(),
            "\"a \\\"b\\\"\";du;etp=5100;mb=3200;rd=180;rtt=24"
        );
    }
}

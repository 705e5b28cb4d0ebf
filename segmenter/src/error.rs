//! What can end a run, and whether starting it again could help.

/// Each is one line that says which input, which rule, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{input} cannot be opened: {why}")]
    Open {
        input: String,
        why: String,
        fatal: bool,
    },
    #[error("{input} has no video stream; it carries {carries}, and every stream needs a picture")]
    NoVideo { input: String, carries: String },
    #[error("{input}: not one picture of its {codec} video could be decoded")]
    NoPicture { input: String, codec: String },
    #[error("{input} said nothing for {seconds} s")]
    Silent { input: String, seconds: u64 },
    #[error("{input} cannot be read any further: {why}")]
    Read { input: String, why: String },
    #[error("{option}: {why}")]
    Option { option: &'static str, why: String },
    #[error(
        "the pictures are of high dynamic range, {range}, and this FFmpeg has no filter {filter} to bring them down; \
         take one that is built with libzimg, as Debian's is, or send pictures of standard range"
    )]
    Range {
        range: &'static str,
        filter: &'static str,
    },
    #[error("{doing}: {why}")]
    Libav { doing: String, why: String },
    #[error(
        "rung {rung}: the encoder gave {got} of the {want} pictures of part {part}; it must not hold any back"
    )]
    Withheld {
        rung: String,
        part: u64,
        got: usize,
        want: u32,
    },
    #[error("rung {rung}: picture {frame} should{} be an IDR picture; the rungs are out of step", if *.want { "" } else { " not" })]
    Step {
        rung: String,
        frame: u64,
        want: bool,
    },
    #[error(transparent)]
    Wire(#[from] segmenter::wire::WireError),
    #[error("stdout cannot be written: {0}")]
    Stdout(std::io::Error),
    #[error(
        "stdout is a terminal, and the parts are no text; pipe them to the origin or into a file"
    )]
    Terminal,
    /// Whoever read stdout has gone; there is nobody left to tell.
    #[error("nobody reads stdout any more")]
    ReaderGone,
    #[error("a thread of the segmenter cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("{who} panicked, which is a bug")]
    Panicked { who: String },
}

impl Error {
    /// The same input would fail the same way again.
    pub(crate) fn fatal(&self) -> bool {
        match self {
            Self::Open { fatal, .. } => *fatal,
            Self::NoVideo { .. }
            | Self::NoPicture { .. }
            | Self::Option { .. }
            | Self::Range { .. }
            | Self::Terminal => true,
            _ => false,
        }
    }
}

//! Filter graphs with one name for every end, and errors that show the graph.

use ff::filter;
use ffmpeg_next as ff;

use super::failed;
use crate::error::Error;

/// An end of a graph: its name in the graph's text, the filter that stands there, and that filter's arguments.
pub(super) struct End<'a> {
    pub(super) label: &'a str,
    pub(super) filter: &'a str,
    pub(super) arguments: &'a str,
}

/// `text` between `sources` and `sinks`, ready to run.
pub(super) fn build(
    text: &str,
    sources: &[End<'_>],
    sinks: &[&End<'_>],
) -> Result<filter::Graph, Error> {
    let wrong = || failed(format!("filter graph {text:?}"));
    let mut graph = filter::Graph::new();
    for end in sources.iter().chain(sinks.iter().copied()) {
        let kind = filter::find(end.filter)
            .ok_or(ff::Error::FilterNotFound)
            .map_err(wrong())?;
        graph
            .add(&kind, end.label, end.arguments)
            .map_err(wrong())?;
    }
    // libav's words for the ends are those of the text: its outputs are where the sources feed into.
    let mut parser = filter::graph::Parser::new(&mut graph);
    for source in sources {
        parser = parser.output(source.label, 0).map_err(wrong())?;
    }
    for sink in sinks {
        parser = parser.input(sink.label, 0).map_err(wrong())?;
    }
    parser.parse(text).map_err(wrong())?;
    graph.validate().map_err(wrong())?;
    Ok(graph)
}

/// Where pictures leave.
pub(super) const PICTURES: End<'_> = End {
    label: "out0",
    filter: "buffersink",
    arguments: "",
};
/// Where sound leaves.
pub(super) const SOUND: End<'_> = End {
    label: "out1",
    filter: "abuffersink",
    arguments: "",
};

//! Filter graphs with one name for every end, and errors that show the graph.

use ff::filter;
use ffmpeg_next as ff;

use super::{Picture, failed, raw, wants_more};
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
    build_in(filter::Graph::new(), text, sources, sinks)
}

/// The same, to run on the caller's thread alone.
pub(super) fn build_alone(
    text: &str,
    source: End<'_>,
    sink: &End<'_>,
) -> Result<filter::Graph, Error> {
    let mut graph = filter::Graph::new();
    raw::set_alone(&mut graph);
    build_in(graph, text, &[source], &[sink])
}

fn build_in(
    mut graph: filter::Graph,
    text: &str,
    sources: &[End<'_>],
    sinks: &[&End<'_>],
) -> Result<filter::Graph, Error> {
    let wrong = || failed(format!("filter graph {text:?}"));
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

/// Puts `picture` into a graph of one input, and takes what comes out; `None` if it wants more first.
pub(super) fn pass(
    graph: &mut filter::Graph,
    picture: &Picture,
) -> Result<Option<Picture>, ff::Error> {
    let mut input = graph.get(INPUT).ok_or(ff::Error::Bug)?;
    // The graph takes what it is given, and leaves an empty frame behind.
    let given = raw::share(picture)?;
    input.source().add(&given)?;
    let mut output = graph.get(PICTURES.label).ok_or(ff::Error::Bug)?;
    let mut passed = Picture::empty();
    match output.sink().frame(&mut passed) {
        Ok(()) => Ok(Some(passed)),
        Err(why) if wants_more(&why) => Ok(None),
        Err(why) => Err(why),
    }
}

/// The one input of a graph that has one.
pub(super) const INPUT: &str = "in";
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

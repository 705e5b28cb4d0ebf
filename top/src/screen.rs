//! How it looks. Each state has a sign beside its colour; where there is too little room, the rows that count least go.

use std::time::Instant;

use ratatui::{
    Frame, Terminal,
    backend::TestBackend,
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row, Sparkline, Table},
};
use spillway::manager::view::{AlertView, Decision, NodeView, Overview, RegionView};

use crate::{
    state::{List, State, viewers},
    words::{bitrate, clock, price, span},
};

pub(crate) fn draw(frame: &mut Frame<'_>, state: &State, now: Instant) {
    let alerts = state
        .overview
        .as_ref()
        .map_or(0, |overview| overview.alerts.len());
    let alerts = u16::try_from(alerts).unwrap_or(u16::MAX).min(6);
    let areas = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(if frame.area().height >= 24 { 2 } else { 0 }),
        Constraint::Length(alerts + u16::from(alerts > 0)),
        Constraint::Fill(3),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(1),
    ]);
    let [head, line, matter, regions, nodes, decisions, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(heading(state, now)), head);
    let Some(overview) = &state.overview else {
        return;
    };
    let values: Vec<u64> = state
        .viewers
        .iter()
        .take(line.width.into())
        .rev()
        .copied()
        .collect();
    frame.render_widget(Sparkline::default().data(values).style(Color::Cyan), line);
    frame.render_widget(Paragraph::new(matters(overview)), matter);
    let [of_regions, of_nodes, of_decisions] = state.passed;
    let focus = |list| state.list == list;
    regions_table(
        frame,
        regions,
        &overview.regions,
        of_regions,
        focus(List::Regions),
    );
    nodes_table(frame, nodes, &overview.nodes, of_nodes, focus(List::Nodes));
    let rows: Vec<_> = state
        .decisions
        .iter()
        .skip(of_decisions)
        .map(decided)
        .collect();
    let title = title("DECISIONS", state.decisions.len(), focus(List::Decisions));
    let lines: Vec<_> = std::iter::once(title).chain(rows).collect();
    frame.render_widget(Paragraph::new(lines), decisions);
    let keys = "q end   Tab next list   arrows, PgUp, PgDn move   p hold still";
    frame.render_widget(Paragraph::new(keys).dim(), foot);
}

/// All of it, as text of a terminal that is as high as it takes.
pub(crate) fn text(state: &State, now: Instant) -> String {
    let rows = state.overview.as_ref().map_or(0, |overview| {
        overview.regions.len().max(overview.nodes.len())
    });
    let height = u16::try_from(rows * 3 + 40).unwrap_or(2000).min(2000);
    let Ok(mut terminal) = Terminal::new(TestBackend::new(110, height));
    let Ok(_) = terminal.draw(|frame| draw(frame, state, now));
    let mut told = lines(terminal.backend().buffer());
    // Without the line of the keys, and one empty line where there were many.
    told.pop();
    told.dedup_by(|a, b| a.is_empty() && b.is_empty());
    told.join("\n").trim_end().to_owned() + "\n"
}

/// What is on the screen, line by line, without its colours.
fn lines(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content().chunks(buffer.area.width.into());
    let lines = rows.map(|row| {
        row.iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect::<String>()
    });
    lines.map(|line| line.trim_end().to_owned()).collect()
}

fn heading(state: &State, now: Instant) -> Vec<Line<'static>> {
    let link = match (&state.lost, state.heard) {
        (Some(why), _) => format!("✕ not connected: {why}").red().bold(),
        (None, None) => "◌ connecting".cyan(),
        (None, Some(_)) if state.held => "■ held still".yellow().bold(),
        (None, Some(heard)) if now.saturating_duration_since(heard).as_secs() > 4 => format!(
            "▲ nothing for {} s",
            now.saturating_duration_since(heard).as_secs()
        )
        .yellow()
        .bold(),
        (None, Some(_)) => "● live".green(),
    };
    let mut first = vec![
        "spillway-top ".bold(),
        state.manager.clone().into(),
        "   ".into(),
        link,
    ];
    let Some(overview) = &state.overview else {
        return vec![first.into()];
    };
    first.push(
        format!(
            "   manager {} up {}",
            overview.software,
            span(overview.uptime_s)
        )
        .dim(),
    );
    let notes = [
        (!overview.active, "in standby: another one decides"),
        (
            overview.active && !overview.ready,
            "has not heard all nodes: decides nothing",
        ),
        (overview.dry_run, "a rehearsal: does nothing"),
    ];
    for (holds, note) in notes {
        if holds {
            first.push(format!("   ▲ {note}").yellow());
        }
    }
    let relays = overview.nodes.iter().filter(|node| node.kind == "relay");
    let (at_work, waiting) = relays.fold((0, 0), |(work, wait), node| match &*node.state {
        "active" | "draining" => (work + 1, wait),
        "standby" => (work, wait + 1),
        _ => (work, wait),
    });
    let egress = overview.nodes.iter().map(|node| node.egress_bps).sum();
    let grave = overview.alerts.iter().filter(|alert| alert.grave).count();
    let alerts = format!("{}", overview.alerts.len());
    let second = vec![
        "Viewers ".dim(),
        viewers(overview).to_string().bold(),
        "   Egress ".dim(),
        bitrate(egress).bold(),
        "   Relays ".dim(),
        at_work.to_string().bold(),
        format!(" ({waiting} standing by)").into(),
        "   Regions ".dim(),
        overview.regions.len().to_string().bold(),
        "   Alerts ".dim(),
        match (overview.alerts.len(), grave) {
            (0, _) => alerts.green(),
            (_, 0) => alerts.yellow().bold(),
            _ => format!("{alerts}, {grave} that viewers see").red().bold(),
        },
    ];
    vec![first.into(), second.into()]
}

fn matters(overview: &Overview) -> Vec<Line<'static>> {
    let lines = overview.alerts.iter().map(|alert: &AlertView| {
        let sign = if alert.grave {
            "✕ ".red()
        } else {
            "▲ ".yellow()
        };
        let at = [&alert.stream, &alert.region, &alert.node];
        let at: Vec<_> = at.into_iter().flatten().map(String::as_str).collect();
        Line::from(vec![
            sign,
            alert.name.clone().bold(),
            format!("  {}  {}", at.join(" · "), alert.what).into(),
            format!("  for {}", span(alert.for_s)).dim(),
        ])
    });
    lines.collect()
}

fn title(name: &'static str, rows: usize, focused: bool) -> Line<'static> {
    let mark = if focused { "▸ " } else { "  " };
    Line::from(vec![mark.cyan(), name.bold(), format!(" {rows}").dim()])
}

fn regions_table(
    frame: &mut Frame<'_>,
    area: Rect,
    regions: &[RegionView],
    passed: usize,
    focused: bool,
) {
    let most = regions
        .iter()
        .map(|region| region.viewers.max(region.threshold))
        .max()
        .unwrap_or(1);
    let [name, viewers, threshold, relays, egress, paid, state_of] = [14, 8, 9, 9, 11, 6, 11];
    let rest = name + viewers + threshold + relays + egress + paid + state_of + 7;
    // A shorter one says nothing.
    let room = area.width.saturating_sub(rest).min(30);
    let room = if room < 8 { 0 } else { room };
    let rows = regions.iter().skip(passed).map(|region| {
        let relays = match &region.pinned {
            Some(_) => format!("{} pinned", region.relays),
            None => region.relays.to_string(),
        };
        let cells = [
            Cell::from(region.region.clone()).bold(),
            right(region.viewers.to_string()),
            Cell::from(bar(region, most, room.into())),
            right(region.threshold.to_string()),
            right(relays),
            right(bitrate(region.egress_bps)),
            right(price(region.price)),
            Cell::from(state(&region.state)),
        ];
        Row::new(cells)
    });
    let head = [
        "REGION",
        "VIEWERS",
        if room == 30 {
            "█ primary ▒ relays ┃ threshold"
        } else {
            ""
        },
        "THRESHOLD",
        "RELAYS",
        "EGRESS",
        "PRICE",
        "STATE",
    ];
    let widths = [
        name, viewers, room, threshold, relays, egress, paid, state_of,
    ];
    table(
        frame,
        area,
        title("REGIONS", regions.len(), focused),
        (head, &[1, 3, 4, 5, 6]),
        widths,
        rows,
    );
}

fn nodes_table(
    frame: &mut Frame<'_>,
    area: Rect,
    nodes: &[NodeView],
    passed: usize,
    focused: bool,
) {
    let rows = nodes.iter().skip(passed).map(|node| {
        let heard = format!("{:.1} s", node.heard_ms as f64 / 1000.0);
        let late = node.heard_ms > 6000;
        let closed = if node.closed { " closed" } else { "" };
        let budget = node
            .budget_bps
            .map(|budget| format!("of {}", bitrate(budget)));
        let cells = [
            Cell::from(node.node.clone()).bold(),
            Cell::from(node.region.clone().unwrap_or_else(|| "–".into())),
            Cell::from(Line::from(vec![state(&node.state), closed.yellow()])),
            right(node.viewers.to_string()),
            right(bitrate(node.egress_bps)),
            Cell::from(budget.unwrap_or_default()).dim(),
            right(price(node.price)),
            right(heard).style(if late {
                Style::new().yellow().bold()
            } else {
                Style::new()
            }),
            right(span(node.uptime_s)),
            right(node.software.clone()),
        ];
        Row::new(cells)
    });
    let head = [
        "NODE", "REGION", "STATE", "VIEWERS", "EGRESS", "", "PRICE", "HEARD", "UP", "VERSION",
    ];
    let widths = node_widths(area.width, nodes);
    table(
        frame,
        area,
        title("NODES", nodes.len(), focused),
        (head, &[3, 4, 6, 7, 8, 9]),
        widths,
        rows,
    );
}

/// Of the columns of nodes: names in full as far as there is room, and 0 for what there is no room for.
fn node_widths(room: u16, nodes: &[NodeView]) -> [u16; 10] {
    let mut widths = [0, 0, 17, 8, 11, 0, 6, 7, 0, 0];
    let rest = room.saturating_sub(widths.iter().sum::<u16>() + widths.len() as u16 - 1);
    let longest = nodes.iter().map(|node| node.node.chars().count()).max();
    widths[0] =
        u16::try_from(longest.unwrap_or(0).clamp(4, 40)).map_or(rest, |name| name.min(rest));
    let mut rest = rest - widths[0];
    // Region, uptime, budget, version: what is missed most comes first.
    for (column, width) in [(1, 12), (8, 12), (5, 15), (9, 8)] {
        if width > rest {
            break;
        }
        widths[column] = width;
        rest -= width;
    }
    widths
}

/// A title, and below it a table; the columns `right` are to the right.
fn table<'a, const N: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    title: Line<'a>,
    (head, to_right): ([&'a str; N], &[usize]),
    widths: [u16; N],
    rows: impl Iterator<Item = Row<'a>>,
) {
    let [above, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(title, above);
    let head = head
        .into_iter()
        .enumerate()
        .map(|(i, name)| match to_right.contains(&i) {
            true => Cell::from(Line::from(name).right_aligned()),
            false => Cell::from(name),
        });
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::DIM));
    let room = usize::from(below.height.saturating_sub(1));
    let table = Table::new(rows.take(room), widths.map(Constraint::Length)).header(head);
    frame.render_widget(table, below);
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

/// How many are on the primary, how many on relays, and where the threshold is; all regions on one scale.
fn bar(region: &RegionView, most: u32, room: u64) -> Line<'static> {
    let at = |viewers: u32| (u64::from(viewers) * room / u64::from(most.max(1))) as usize;
    let (primary, all, threshold) = (
        at(region.on_primary),
        at(region.viewers),
        at(region.threshold).min((room as usize).saturating_sub(1)),
    );
    let spans = (0..room as usize).map(|i| match i {
        i if i == threshold => Span::raw("┃"),
        i if i < primary => "█".blue(),
        i if i < all => "▒".yellow(),
        _ => Span::raw(" "),
    });
    spans.collect::<Vec<_>>().into()
}

fn state(name: &str) -> Span<'static> {
    let (sign, color) = match name {
        "normal" | "active" | "activate" | "adopt" => ("✓", Color::Green),
        "launching" | "filling" | "launch" | "override" => ("◌", Color::Cyan),
        "spilling" | "draining" | "drain" | "press" | "short" => ("▲", Color::Yellow),
        "lost" | "doubt" | "failed" => ("✕", Color::Red),
        _ => ("·", Color::Reset),
    };
    Span::styled(format!("{sign} {name}"), color)
}

fn decided(decision: &Decision) -> Line<'static> {
    let at = [&decision.region, &decision.node];
    let at: Vec<_> = at.into_iter().flatten().map(String::as_str).collect();
    let done = state(&decision.action);
    let gap = " ".repeat(12_usize.saturating_sub(done.width()));
    Line::from(vec![
        format!("{} ", clock(&decision.at)).dim(),
        done,
        gap.into(),
        at.join(" · ").bold(),
        format!("  {}", decision.reason).into(),
    ])
}

#[cfg(test)]
#[path = "screens.rs"]
mod screens;

//! What the charts of the operators' pages have in common: their size, their axes, and how lines are told apart. What is
//! drawn, and when, is each chart's own business.
//!
//! Colours are the Okabe-Ito set and every line has its own dash as well, so that lines stay apart without colour.

import type uPlot from "uplot";

/** More lines than this cannot be told apart. */
export const LINES = 6;
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [14, 5]];

const HEIGHT = 220;

export function size(host: HTMLElement): { width: number; height: number } {
  return { width: host.clientWidth, height: HEIGHT };
}

/** Points are looked at, and nothing is zoomed. */
export const CURSOR: uPlot.Cursor = { points: { size: 7 }, drag: { x: false, y: false } };

export function axis(host: HTMLElement): uPlot.Axis {
  return {
    stroke: property(host, "--muted"),
    font: `12px ${property(host, "--sans")}`,
    grid: { stroke: property(host, "--line"), width: 1 },
    ticks: { show: false },
  };
}

/** How the line with this number looks. */
export function line(host: HTMLElement, at: number): Pick<uPlot.Series, "stroke" | "width" | "dash"> {
  return { stroke: property(host, `--line-${at + 1}`), width: 2, dash: DASHES[at] ?? [] };
}

function property(host: HTMLElement, name: string): string {
  return getComputedStyle(host).getPropertyValue(name).trim();
}

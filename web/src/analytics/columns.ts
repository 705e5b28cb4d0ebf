//! Points as a chart wants them: one time axis, one column for each name, the largest first. Pure.

import { LINES } from "../shared/plot";

export interface Columns {
  times: number[];
  names: string[];
  values: (number | null)[][];
  /** How many names there are in all. */
  all: number;
}

/** What is between two points and was not told is 0: nobody watched. The newest step is not over yet and is left out. */
export function columns<P extends { at: number }>(
  span: { from: number; to: number; step: number },
  points: readonly P[],
  name: (point: P) => string,
  value: (point: P) => number,
): Columns {
  const first = Math.floor(span.from / span.step) * span.step;
  const last = Math.min(span.to, Math.floor(Date.now() / 1000)) - span.step;
  const times: number[] = [];
  for (let at = first; at <= last; at += span.step) times.push(at);
  const by = new Map<string, number[]>();
  for (const point of points) {
    const index = (point.at - first) / span.step;
    if (index >= times.length) continue;
    const column = by.get(name(point)) ?? new Array<number>(times.length).fill(0);
    column[index] = (column[index] ?? 0) + value(point);
    by.set(name(point), column);
  }
  const sum = (column: number[]) => column.reduce((all, one) => all + one, 0);
  const ranked = [...by].sort(([, a], [, b]) => sum(b) - sum(a));
  const shown = ranked.slice(0, LINES).sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }));
  return { times, names: shown.map(([of]) => of), values: shown.map(([, column]) => column), all: by.size };
}

/** Each column as its part of what all of them are together. */
export function shares({ values, ...rest }: Columns): Columns {
  const sums = (values[0] ?? []).map((_, at) => values.reduce((all, column) => all + (column[at] ?? 0), 0));
  const share = (value: number | null, at: number) => (sums[at] ? (value ?? 0) / sums[at] : null);
  return { ...rest, values: values.map((column) => column.map(share)) };
}

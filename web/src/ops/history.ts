//! The last fifteen minutes, by region and by node, in columns that uPlot can draw.
//!
//! Starts from the manager's history where it sends one and grows by each overview. Times are
//! this browser's, so a manager whose clock is off still draws up to "now".

import type { Overview, PastSeries } from "./overview";

/** Seconds kept and drawn. */
export const SPAN = 15 * 60;

type Column = (number | null)[];

/** Named columns over one shared axis of seconds since the epoch. */
export class Series {
  times: number[] = [];
  readonly columns = new Map<string, Column>();

  push(at: number, values: ReadonlyMap<string, number>): void {
    if (at <= (this.times.at(-1) ?? -Infinity)) return;
    this.times.push(at);
    for (const name of values.keys()) {
      if (!this.columns.has(name)) this.columns.set(name, new Array(this.times.length - 1).fill(null));
    }
    for (const [name, column] of this.columns) column.push(values.get(name) ?? null);
    this.trim(at - SPAN);
  }

  /** Largest first, by the mean over the last minute: a name must not jump about each second. */
  largest(): string[] {
    const weight = new Map<string, number>();
    for (const [name, column] of this.columns) {
      const recent = column.slice(-60);
      weight.set(name, recent.reduce<number>((sum, value) => sum + (value ?? 0), 0) / Math.max(1, recent.length));
    }
    return [...weight.keys()].sort(
      (a, b) => (weight.get(b) ?? 0) - (weight.get(a) ?? 0) || a.localeCompare(b),
    );
  }

  clear(): void {
    this.times = [];
    this.columns.clear();
  }

  private trim(oldest: number): void {
    const keep = this.times.findIndex((time) => time >= oldest);
    if (keep <= 0) return;
    this.times = this.times.slice(keep);
    for (const [name, column] of this.columns) {
      const rest = column.slice(keep);
      if (rest.some((value) => value !== null)) this.columns.set(name, rest);
      else this.columns.delete(name);
    }
  }
}

export class History {
  readonly viewers = new Series();
  readonly egress = new Series();
  private begun = false;

  add(overview: Overview, now: number): void {
    if (overview.history && !this.begun) this.begin(overview.history, now);
    this.viewers.push(now, new Map(overview.regions.map((r) => [r.region, r.viewers])));
    this.egress.push(now, new Map(overview.nodes.map((n) => [n.node, n.egress_bps])));
  }

  /** The manager's past replaces what little this page saw before it came. */
  private begin(history: PastSeries, now: number): void {
    this.begun = true;
    this.viewers.clear();
    const of = <T>(all: Record<string, T>, pick: (one: T) => number[] | undefined) =>
      Object.entries(all).flatMap(([name, one]) => {
        const values = pick(one);
        return values ? [[name, values] as const] : [];
      });
    fill(this.viewers, of(history.regions, (r) => r.viewers), history.interval_s, now);
    // A manager that keeps no past of nodes leaves that chart as it is.
    if (Object.keys(history.nodes).length === 0) return;
    this.egress.clear();
    fill(this.egress, of(history.nodes, (n) => n.egress_bps), history.interval_s, now);
  }
}

/** Lays past samples so that the newest is one interval ago. */
function fill(series: Series, past: (readonly [string, number[]])[], interval: number, now: number): void {
  const length = Math.max(0, ...past.map(([, values]) => values.length));
  for (let ago = Math.min(length, Math.floor(SPAN / interval)); ago >= 1; ago -= 1) {
    const values = new Map<string, number>();
    for (const [name, column] of past) {
      const value = column[column.length - ago];
      if (typeof value === "number") values.set(name, value);
    }
    series.push(now - ago * interval, values);
  }
}

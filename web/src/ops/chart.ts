//! One live chart of the largest few lines, and a word on how many there are beside them.
//!
//! The rest is in the table: as one sum it would dwarf the lines, and the scale would serve nobody. How lines and axes look
//! is `shared/plot`'s business.

import uPlot from "uplot";
import { say } from "../shared/dom";
import { CURSOR, LINES, axis, line, size } from "../shared/plot";
import type { Series } from "./past";

const MARKS = ["solid", "dashed", "dotted"];

export class Chart {
  private plot: uPlot | null = null;
  private built = "";
  private names: string[] = [];
  private ranked = 0;

  constructor(
    private readonly host: HTMLElement,
    private readonly note: HTMLElement,
    private series: Series,
    private label: (value: number) => string,
    /** The scale reaches at least this far, so that next to nothing does not look like a lot. */
    private least: number,
  ) {
    new ResizeObserver(() => this.fit()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.built = "";
      this.draw();
    });
  }

  /** Draws something else from now on. */
  turn(series: Series, label: (value: number) => string, least: number): void {
    if (series === this.series && label === this.label) return;
    [this.series, this.label, this.least] = [series, label, least];
    [this.built, this.ranked] = ["", 0];
    this.draw();
  }

  draw(): void {
    if (this.series.times.length === 0 || this.host.clientWidth === 0) return;
    this.choose();
    const all = this.series.columns.size;
    say(this.note, all > LINES ? `${LINES} largest of ${all}` : "");
    const signature = this.names.join("\n");
    if (this.plot && signature === this.built) {
      this.plot.setData(this.data());
      return;
    }
    this.built = signature;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), this.data(), this.host);
  }

  /** Who gets a line is settled anew every ten seconds or when somebody new comes. */
  private choose(): void {
    const all = this.series.largest();
    const stale = this.names.some((name) => !this.series.columns.has(name));
    const fresh = Date.now() - this.ranked < 10_000;
    const known = this.names.length >= Math.min(all.length, LINES);
    if (fresh && known && !stale) return;
    this.ranked = Date.now();
    this.names = all.slice(0, LINES).sort((a, b) => a.localeCompare(b));
  }

  private data(): uPlot.AlignedData {
    return [this.series.times, ...this.names.map((name) => this.series.columns.get(name) ?? [])];
  }

  private options(): uPlot.Options {
    const both = axis(this.host);
    return {
      ...size(this.host),
      cursor: CURSOR,
      legend: { live: true, markers: { dash: (_, i) => MARKS[(i - 1) % MARKS.length] ?? "solid" } },
      scales: {
        x: { time: true, range: () => this.window() },
        // From zero, with room above: a flat line at the very top reads as "full".
        y: { range: (_, __, max) => [0, Math.max(max ?? 0, this.least) * 1.12] },
      },
      axes: [
        { ...both, space: 70, size: 32, values: (_, ticks) => ticks.map((tick) => clockLabel(tick)) },
        {
          ...both,
          size: 82,
          values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : this.label(tick))),
        },
      ],
      series: [
        { label: "time", value: (_, at) => (at === null ? "now" : clockLabel(at, true)) },
        ...this.names.map((name, i) => ({
          label: name,
          ...line(this.host, i),
          points: { show: false },
          // Without a cursor the legend says what is now.
          value: (u: uPlot, value: number | null) => {
            const shown = u.cursor.idx == null ? u.data[i + 1]?.at(-1) : value;
            return shown == null ? "–" : this.label(shown);
          },
        })),
      ],
    };
  }

  /** All of the series, or what there is of it, but never less than 30 of its steps. */
  private window(): [number, number] {
    const { times, step, keep } = this.series;
    const last = times.at(-1) ?? 0;
    const first = Math.max(times[0] ?? 0, last - keep);
    return [Math.min(first, last - 30 * step), last];
  }

  private fit(): void {
    if (!this.plot) this.draw();
    else if (this.host.clientWidth > 0) this.plot.setSize(size(this.host));
  }
}

function clockLabel(at: number, exact = false): string {
  const date = new Date(at * 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const minute = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return exact || date.getSeconds() !== 0 ? `${minute}:${two(date.getSeconds())}` : minute;
}

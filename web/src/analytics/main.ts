//! The page of what became of viewers: asks again when another time is chosen, and every so often.

import { byId, make, reconcile, say } from "../shared/dom";
import { count, span } from "../shared/format";
import { type Figures, type Now, type Point, Refused, type RungPoint, type Series, type Totals, ask, keepToken, save } from "./api";
import { Chart } from "./chart";
import { columns, shares } from "./columns";

const whole = (value: number) => count(Math.round(value * 10) / 10);
const percent = (value: number) => `${(value * 100).toFixed(value < 0.1 ? 2 : 0)} %`;
const chart = (name: string, label: (value: number) => string, least: number, most?: number) =>
  new Chart(byId(`c-${name}`), byId(`n-${name}`), label, least, most);

const viewers = chart("viewers", whole, 4);
const rungs = chart("rungs", percent, 1, 1);
const joins = chart("joins", whole, 2);
const stalls = chart("stalls", percent, 0.02);

const asked = byId<HTMLFormElement>("asked");
const by = byId<HTMLSelectElement>("by");
const of = byId<HTMLSelectElement>("of");
const tokenForm = byId<HTMLFormElement>("token-form");

/** Points of a chart, about: so many seconds each. */
const STEPS: Record<number, number> = { 3600: 60, 86_400: 300, 604_800: 3600, 2_592_000: 10_800, 31_536_000: 86_400 };
const AGAIN = 15_000;

/** Counts what was asked, so that a late answer does not overwrite a newer one. */
let turn = 0;
let timer = 0;

async function look(): Promise<void> {
  const mine = ++turn;
  clearTimeout(timer);
  const length = Number(new FormData(asked).get("span"));
  const step = STEPS[length] ?? 3600;
  const time = { from: Math.floor(Date.now() / 1000) - length };
  const one: Record<string, string> = of.value ? { [by.value]: of.value } : {};
  const steps = { ...time, step, ...one };
  try {
    const [now, series, taken, each, totals] = await Promise.all([
      ask<Now>("now"),
      ask<Series<Point>>("series", { ...steps, by: by.value }),
      ask<Series<RungPoint>>("rungs", steps),
      ask<Totals>("totals", { ...time, by: by.value }),
      ask<Totals>("totals", { ...time, ...one }),
    ]);
    if (mine !== turn) return;
    byId("trouble").hidden = tokenForm.hidden = true;
    say(byId("now"), count(now.viewers));
    const name = (point: Point) => point.of;
    viewers.show(columns(series, series.points, name, (point) => point.viewers));
    joins.show(columns(series, series.points, name, (point) => (point.visits * 60) / series.step));
    stalls.show(columns(series, series.points, name, (point) => point.stalled_share));
    rungs.show(shares(columns(taken, taken.points, (point) => point.rung, (point) => point.octets)));
    sums(totals);
    table(each);
  } catch (error) {
    if (mine !== turn) return;
    const refused = error instanceof Refused ? error : null;
    tokenForm.hidden = refused?.status !== 401;
    byId("trouble").hidden = false;
    const told = refused?.status === 404 ? "this manager keeps no analytics; start it with --analytics sqlite:FILE" : refused?.message;
    say(byId("trouble"), told ?? "nobody answers; what is shown is old");
  }
  timer = window.setTimeout(look, AGAIN);
}

function sums({ each, peak_viewers, account }: Totals): void {
  const all = each[0];
  say(byId("t-viewers"), whole(all?.viewers ?? 0));
  say(byId("t-peak"), peak_viewers === null ? "" : `${whole(peak_viewers)} in the fullest minute`);
  say(byId("t-watched"), span(all?.watched_s ?? 0));
  say(byId("t-joins"), `${count(all?.joins ?? 0)} sessions, ${count(all?.visits ?? 0)} visits`);
  say(byId("t-stalled"), percent(all?.stalled_share ?? 0));
  say(byId("t-stalls"), `of the time watched, ${count(all?.stalls ?? 0)} stalls`);
  say(byId("t-octets"), octets(all?.octets ?? 0));
  const difference = account?.difference ?? null;
  say(byId("t-account"), difference === null ? "" : `${percent(Math.abs(difference))} off what nodes sent`);
}

function table({ each }: Totals): void {
  const label = by.value.charAt(0).toUpperCase() + by.value.slice(1);
  say(byId("by-head"), label);
  byId("none").hidden = each.length > 0;
  byId("table").hidden = each.length === 0;
  const cells = (row: Figures) => [
    whole(row.viewers), span(row.watched_s), count(row.joins), count(row.visits), count(row.stalls),
    percent(row.stalled_share), octets(row.octets),
  ];
  reconcile(
    byId("rows"), each, (row) => row.of,
    (row) => {
      const line = make("tr");
      const head = make("th", "", row.of);
      head.scope = "row";
      line.append(head, ...cells(row).map(() => make("td", "n")));
      return line;
    },
    (line, row) => cells(row).forEach((text, at) => say(line.children[at + 1] as Element, text)),
  );
  const chosen = of.value;
  const names = ["", ...each.map((row) => row.of)];
  if (chosen && !names.includes(chosen)) names.push(chosen);
  reconcile(
    of, names, (name) => name,
    (name) => Object.assign(make("option", "", name || "all"), { value: name }),
    () => {},
  );
}

function octets(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  for (; value >= 1000 && at < units.length - 1; at += 1) value /= 1000;
  return `${value >= 100 || at === 0 ? value.toFixed(0) : value.toPrecision(3)} ${units[at]}`;
}

asked.addEventListener("submit", (event) => event.preventDefault());
asked.addEventListener("change", (event) => {
  if (event.target === by) of.value = "";
  void look();
});
tokenForm.addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(byId<HTMLInputElement>("token").value);
  void look();
});
for (const button of document.querySelectorAll<HTMLButtonElement>("[data-what]")) {
  button.addEventListener("click", async () => {
    const { what = "", format = "" } = button.dataset;
    const from = Math.floor(Date.now() / 1000) - Number(new FormData(asked).get("span"));
    button.disabled = true;
    try {
      await save({ what, format, from });
    } catch (error) {
      byId("trouble").hidden = false;
      say(byId("trouble"), error instanceof Error ? error.message : "it cannot be exported");
    }
    button.disabled = false;
  });
}
void look();

//! The settings: captions, sound, latency. It shows what there is to choose from and says what was chosen.

import { byId, make, reconcile, say } from "../shared/dom";
import type { Captions } from "./captions";
import type { Playback } from "./playback";
import { named } from "./words";

interface Choice {
  key: string;
  label: string;
  chosen: boolean;
}

export class Menu {
  private readonly menu = byId("menu");
  private readonly gear = byId<HTMLButtonElement>("gear");
  private readonly low = byId<HTMLInputElement>("low");
  private readonly cc = byId<HTMLButtonElement>("cc");

  constructor(
    private readonly playback: Playback,
    private readonly captions: Captions,
  ) {
    this.gear.addEventListener("click", () => this.open(this.menu.hidden));
    this.menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.open(false);
      this.gear.focus();
    });
    document.addEventListener("pointerdown", (event) => {
      const inside = event.target instanceof Node && (this.menu.contains(event.target) || this.gear.contains(event.target));
      if (!inside) this.open(false);
    });
    this.low.addEventListener("change", () => playback.rejoin({ low: this.low.checked, start: null }));
    this.cc.addEventListener("click", () => captions.toggle());
    for (const row of this.menu.querySelectorAll(".row")) row.addEventListener("click", () => this.open(false));
    captions.onchange = () => this.refresh();
  }

  get isOpen(): boolean {
    return !this.menu.hidden;
  }

  open(open: boolean): void {
    if (open === this.isOpen) return;
    this.refresh();
    this.menu.hidden = !open;
    this.gear.setAttribute("aria-expanded", String(open));
    if (open) this.menu.querySelector<HTMLElement>("input:checked, input, button")?.focus();
  }

  refresh(): void {
    const { playback, captions } = this;
    const { all, chosen } = captions;
    const texts = all.map(({ label }) => ({ key: label, label: named(label), chosen: label === chosen?.label }));
    const off = { key: "", label: "Off", chosen: chosen === null };
    choices("texts", all.length > 0 ? [off, ...texts] : [], (key) => captions.choose(key || null));
    this.cc.hidden = all.length === 0;
    this.cc.setAttribute("aria-pressed", String(chosen !== null));

    const { sounds } = playback;
    const heard = sounds.all.map(({ name }, i) => ({ key: String(i), label: named(name), chosen: i === sounds.chosen }));
    choices("sounds", heard.length > 1 ? heard : [], (key) => playback.hear(Number(key)));

    const gone = playback.long;
    this.low.disabled = gone;
    // What was asked for; where nothing was, what the node thinks fit.
    this.low.checked = !gone && (playback.wish.low ?? playback.byParts);
    say(byId("latency-note"), gone ? "Only while you watch live" : "Close to live, part by part");
  }
}

/** The radio buttons of a group; it is not there where there is nothing to choose. */
function choices(id: string, all: readonly Choice[], choose: (key: string) => void): void {
  const group = byId(id);
  group.hidden = all.length === 0;
  reconcile(
    group,
    [{ key: "legend", label: "", chosen: false }, ...all],
    ({ key }) => key,
    ({ key }) => {
      const label = make("label");
      const input = document.createElement("input");
      input.type = "radio";
      input.name = id;
      input.addEventListener("change", () => choose(key));
      label.append(input, make("span"));
      return label;
    },
    (row, { key, label, chosen }) => {
      if (key === "legend") return;
      const input = row.querySelector("input");
      if (input && input.checked !== chosen) input.checked = chosen;
      const text = row.querySelector("span");
      if (text) say(text, label);
    },
  );
}

//! The bar to go back and forth on, with a picture and a time of what is under the pointer. Where one can go is
//! `past`'s to say.

import { byId, say } from "../shared/dom";
import { clock, offset } from "../shared/format";
import type { Past } from "./past";
import type { Storyboard } from "./storyboard";

/** How far the arrows go, in seconds. */
export const STEP = 10;
const TILE_WIDTH = 160;

export class Timeline {
  storyboard: Storyboard | null = null;

  private readonly root = byId("timeline");
  private readonly seek = byId<HTMLInputElement>("seek");
  private readonly preview = byId("preview");
  private readonly tile = byId("tile");
  private readonly time = byId("preview-time");
  private readonly place = byId("place");
  /** Seconds behind the edge that the thumb is held at, while it is. */
  private held: number | null = null;
  private hovered: number | null = null;

  constructor(private readonly past: Past) {
    const { seek } = this;
    seek.addEventListener("input", () => {
      this.held = Number(seek.max) - Number(seek.value);
      this.show(this.held);
    });
    seek.addEventListener("change", () => {
      if (this.held !== null) past.go(this.held);
      this.held = null;
      this.hovered = null;
      this.hide();
    });
    seek.addEventListener("pointermove", (event) => {
      const { left, width } = seek.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
      this.hovered = past.span * (1 - share);
      this.show(this.held ?? this.hovered);
    });
    seek.addEventListener("pointerleave", () => {
      this.hovered = null;
      if (this.held === null) this.hide();
    });
    seek.addEventListener("blur", () => this.hide());
  }

  refresh(): void {
    const { span, behind, recorded } = this.past;
    this.root.hidden = span === 0;
    this.place.hidden = !recorded;
    if (span === 0) return;
    // The buffer of who watches live is not the past.
    const at = this.held ?? (this.past.live ? 0 : behind);
    // Not while it is held: the browser would let go of it.
    if (this.held === null) {
      this.seek.max = String(span);
      this.seek.value = String(Math.max(0, span - at));
    }
    this.seek.style.setProperty("--played", `${(100 * Math.max(0, span - at)) / span}%`);
    const words = recorded ? `${offset(span - at)} of ${offset(span)}` : at === 0 ? "Live" : `${offset(at)} behind live`;
    if (this.seek.getAttribute("aria-valuetext") !== words) this.seek.setAttribute("aria-valuetext", words);
    if (recorded) say(this.place, `${offset(span - at)} / ${offset(span)}`);
    if (this.hovered !== null) this.show(this.held ?? this.hovered);
  }

  private show(behind: number): void {
    const { span, recorded } = this.past;
    const { clientWidth } = this.root;
    if (span === 0 || clientWidth === 0) return;
    void this.storyboard?.look();
    this.preview.hidden = false;
    say(this.time, recorded ? offset(span - behind) : `${clock(Date.now() - behind * 1_000)} · −${offset(behind)}`);
    const tile = this.storyboard?.at(behind, !recorded) ?? null;
    this.tile.hidden = tile === null;
    if (tile) {
      const scale = TILE_WIDTH / tile.width;
      this.tile.style.width = `${TILE_WIDTH}px`;
      this.tile.style.height = `${tile.height * scale}px`;
      this.tile.style.backgroundImage = `url("${tile.url}")`;
      this.tile.style.backgroundPosition = `-${tile.x * scale}px -${tile.y * scale}px`;
    }
    // Its middle is above the place, as far as the ends allow.
    const half = this.preview.offsetWidth / 2;
    const middle = clientWidth * (1 - behind / span);
    this.preview.style.left = `${Math.min(clientWidth - half, Math.max(half, middle))}px`;
  }

  private hide(): void {
    this.preview.hidden = true;
  }
}

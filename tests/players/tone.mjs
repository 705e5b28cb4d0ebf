//! Listens to the test pattern's tone and hears every break of it.
//!
//! A pure tone obeys x[i] = 2 cos(w) x[i-1] - x[i-2], whatever its phase and loudness, so what is left of that is
//! a click. Lossy coding leaves less than a thousandth; a jump of the phase leaves a twentieth of the loudness or more.
//! Runs in Node and in an audio worklet alike, so it imports nothing.

/** Above this it is a break. */
const CLICK = 0.01;
/** Breaks nearer than this are one. */
const APART = 0.1;
/** A millisecond below this is silence. */
const SILENT = 0.02;

export class Ear {
  #turn;
  #rate;
  #before = [0, 0];
  #heard = 0;
  #began = false;
  #last = -Infinity;
  #loudest = 0;
  /** Where the tone broke, in seconds of what was heard, and how hard. */
  breaks = [];
  /** Seconds of silence since the tone began. */
  silence = 0;

  constructor(tone, rate) {
    this.#turn = 2 * Math.cos((2 * Math.PI * tone) / rate);
    this.#rate = rate;
  }

  get seconds() {
    return this.#heard / this.#rate;
  }

  /** Hears samples of -1 to 1; says whether the tone broke in them. */
  hear(samples) {
    const breaks = this.breaks.length;
    let [older, old] = this.#before;
    const millisecond = Math.round(this.#rate / 1000);
    for (const sample of samples) {
      const left = Math.abs(sample - this.#turn * old + older);
      [older, old] = [old, sample];
      this.#loudest = Math.max(this.#loudest, Math.abs(sample));
      const at = this.#heard++ / this.#rate;
      if (this.#began && left > CLICK) this.#broke(at, left);
      if (this.#heard % millisecond === 0) {
        if (this.#began && this.#loudest < SILENT) this.silence += 0.001;
        // A player's fade-in and its first buffers are its own business: it began when the tone has held for a while.
        if (!this.#began && this.#loudest > SILENT) this.#hold(left);
        this.#loudest = 0;
      }
    }
    this.#before = [older, old];
    return this.breaks.length > breaks;
  }

  #steady = 0;

  #hold(left) {
    this.#steady = left > CLICK ? 0 : this.#steady + 1;
    if (this.#steady > 500) this.#began = true;
  }

  #broke(at, hard) {
    const latest = this.breaks.at(-1);
    if (latest && at - this.#last < APART) latest.hard = Math.max(latest.hard, hard);
    else this.breaks.push({ at, hard });
    this.#last = at;
  }
}

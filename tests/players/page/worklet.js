//! The ear on a page's audio thread: tells the page of each break of the tone, and once a second how much it heard.

import { TONE } from "/pattern.mjs";
import { Ear } from "/tone.mjs";

class Listening extends AudioWorkletProcessor {
  ear = new Ear(TONE, sampleRate);
  told = 0;

  process([[left]]) {
    // No input is silence: to the ear it is a break like any other.
    if (this.ear.hear(left ?? new Float32Array(128))) this.port.postMessage({});
    if (this.ear.seconds > this.told + 1) {
      this.told = this.ear.seconds;
      this.port.postMessage({ seconds: this.ear.seconds, silence: this.ear.silence });
    }
    return true;
  }
}

registerProcessor("ear", Listening);

// States of the objects over the time of a bag, one row per object.

import { make } from './panel.js';

// Share of the height of a row, so that states differ without their colours.
const HEIGHTS = { TRACKED: 1, INITIALIZING: 0.75, UNCERTAIN: 0.6, OCCLUDED: 0.35, LOST: 0.15 };
const MARK_PX = 5;

/** Dispatches 'seek' with a time in milliseconds from the first image. */
export class Timeline extends EventTarget {
  #list;
  #rows = []; // { item, canvas, line, marks }
  #times = [0];
  #ms = 0;

  constructor(list) {
    super();
    this.#list = list;
    new ResizeObserver(() => this.#draw()).observe(list);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
  }

  /**
   * Show objects.
   * times: of each image in milliseconds; objects: with spans [first, last, state] of images;
   * prompts: with id and index of the image, marked in the row of their object.
   */
  show(times, objects, prompts) {
    this.#times = times;
    const known = new Set(objects.map((item) => item.id));
    const more = [...new Set(prompts.map((item) => item.id))].filter((id) => id && !known.has(id));
    const items = [...objects, ...more.map((id) => ({ id, spans: [] }))];
    this.#rows = items.map((item) => {
      const canvas = make('canvas', { className: 'states' });
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', describe(item, times.length));
      const line = make('div', { className: 'now' });
      const track = make('div', { className: 'track' }, canvas, line);
      track.addEventListener('pointerdown', (event) => this.#point(event, track));
      track.addEventListener('pointermove', (event) => event.buttons && this.#point(event, track));
      const name = make('span', { className: 'name', textContent: item.id, title: item.id });
      const marks = prompts.filter((mark) => mark.id === item.id && mark.index !== null);
      return { item, canvas, line, marks, element: make('li', {}, name, track) };
    });
    this.#list.replaceChildren(...this.#rows.map((row) => row.element));
    this.#draw();
  }

  /** Mark the time that is shown, in milliseconds from the first image. */
  move(ms) {
    this.#ms = ms;
    for (const { line } of this.#rows) line.style.left = `${this.#share(ms) * 100}%`;
  }

  /** End of the last image, which lasts as long as the images before it on average. */
  get endMs() {
    const last = this.#times.at(-1);
    return last + last / Math.max(1, this.#times.length - 1) || 1;
  }

  #share(ms) {
    return ms / this.endMs;
  }

  #point(event, track) {
    if (event.button > 0) return;
    if (event.type === 'pointerdown') track.setPointerCapture(event.pointerId);
    const frame = track.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - frame.left) / frame.width, 0), 1);
    this.dispatchEvent(new CustomEvent('seek', { detail: share * this.endMs }));
  }

  #draw() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name.toLowerCase()}`);
    for (const { item, canvas, marks } of this.#rows) {
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      if (!width) continue;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const context = canvas.getContext('2d');
      context.scale(ratio, ratio);
      const place = (index) => this.#share(this.#times[index] ?? this.endMs) * width;
      for (const [first, last, state] of item.spans) {
        const room = (height - MARK_PX - 2) * HEIGHTS[state];
        const x = place(first);
        context.fillStyle = color(state);
        context.fillRect(x, height - room, Math.max(1, place(last + 1) - x), room);
      }
      context.fillStyle = color('text');
      for (const { index } of marks) {
        const x = Math.min(Math.max(place(index), MARK_PX), width - MARK_PX);
        context.beginPath();
        context.moveTo(x - MARK_PX, 0);
        context.lineTo(x + MARK_PX, 0);
        context.lineTo(x, MARK_PX + 2);
        context.fill();
      }
    }
    this.move(this.#ms);
  }
}

/** Say in which share of the images an object has which state. */
function describe(item, count) {
  const shares = {};
  for (const [first, last, state] of item.spans) shares[state] = (shares[state] ?? 0) + last - first + 1;
  const parts = Object.entries(shares).map(([state, length]) => `${state} ${Math.round((length / count) * 100)} %`);
  return `${item.id}: ${parts.join(', ') || 'no results'}`;
}

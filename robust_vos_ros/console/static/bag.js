// A bag: playing, seeking, and the prompts for `robust-vos bag process`.

import { make, setText } from './panel.js';
import { Timeline } from './timeline.js';

const PLAY_MS = 66; // pictures are asked for at most this often
const FAR_MS = 5000;
const element = (id) => document.getElementById(id);

/**
 * Dispatches 'seek' when another image is asked for, 'problem' with a text, 'event' with an event to
 * list, and 'correct' and 'remove' with the id of an object.
 */
export class Bag extends EventTarget {
  #connection;
  #timeline = new Timeline(element('timeline'));
  #times = []; // of each image, in milliseconds from the first one
  #objects = [];
  #wanted = null; // index that is asked for next
  #isAsking = false;
  #playing = null; // { timer, startMs, fromMs }
  isShown = false;
  index = 0;
  prompts = [];

  constructor(connection) {
    super();
    this.#connection = connection;
    connection.addEventListener('timeline', ({ detail }) => this.#showTimes(detail));
    connection.addEventListener('prompts', ({ detail }) => this.#showPrompts(detail));
    this.#timeline.addEventListener('seek', ({ detail }) => this.seekTime(detail));
    element('seek').addEventListener('input', ({ target }) => this.seekTime(Number(target.value)));
    element('seek').addEventListener('keydown', (event) => this.#slide(event));
    element('play').addEventListener('click', () => this.toggle());
    element('back').addEventListener('click', () => this.step(-1));
    element('next').addEventListener('click', () => this.step(1));
    element('speed').addEventListener('change', () => {
      if (this.#playing) this.#start();
    });
    document.addEventListener('visibilitychange', () => document.hidden && this.pause());
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Show the controls of a bag, or those of a node. */
  show(isBag) {
    this.isShown = isBag;
    if (!isBag) this.pause();
    document.body.classList.toggle('is-bag', isBag);
    element('bag').hidden = element('prompts').hidden = !isBag;
    for (const item of document.querySelectorAll('.of-bag')) item.hidden = !isBag;
    for (const item of document.querySelectorAll('.of-node')) item.hidden = isBag;
  }

  #showTimes({ times_ms: times, objects }) {
    this.#times = times;
    this.#objects = objects;
    this.#drawTimeline();
    element('seek').max = String(this.#timeline.endMs);
    this.seek(Math.min(this.index, times.length - 1));
  }

  #drawTimeline() {
    if (this.#times.length) this.#timeline.show(this.#times, this.#objects, this.prompts);
  }

  /** Ask for an image, unless a newer wish comes before. */
  async seek(index) {
    if (!this.#times.length) return;
    index = Math.min(Math.max(index, 0), this.#times.length - 1);
    this.index = index;
    const seconds = (this.#times[index] / 1000).toFixed(2);
    const place = `image ${index} of ${this.#times.length}, ${seconds} s`;
    setText(element('place'), place);
    element('seek').value = String(this.#times[index]);
    element('seek').setAttribute('aria-valuetext', place);
    this.#timeline.move(this.#times[index]);
    this.#tell('seek');
    this.#wanted = index;
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (this.#wanted !== null) {
      const asked = this.#wanted;
      this.#wanted = null;
      const pause = new Promise((resolve) => setTimeout(resolve, PLAY_MS));
      const answer = await this.#connection.request({ type: 'seek', index: asked });
      if (!answer.ok && answer.code !== 'OFFLINE') this.#tell('problem', answer.message);
      await pause;
    }
    this.#isAsking = false;
  }

  /** Seek to the image that is shown at a time, in milliseconds from the first one. */
  seekTime(ms) {
    if (this.#playing) this.#start(ms);
    this.seek(this.#indexAt(ms));
  }

  /** Arrow keys move the slider by images, not by milliseconds. */
  #slide(event) {
    const count = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!count) return;
    event.preventDefault();
    this.step(count);
  }

  step(count) {
    this.pause();
    this.seek(this.index + count);
  }

  /** Seek by some seconds. */
  skip(direction) {
    this.seekTime(this.#times[this.index] + direction * FAR_MS);
  }

  /** Seek to the next image in which a state changes; direction: 1, or -1 for the one before. */
  jump(direction) {
    const starts = this.#objects.flatMap(({ spans }) => spans.map(([first]) => first));
    const ahead = starts.filter((first) => (first - this.index) * direction > 0);
    this.pause();
    if (ahead.length) this.seek(direction > 0 ? Math.min(...ahead) : Math.max(...ahead));
  }

  toggle() {
    if (this.#playing) this.pause();
    else if (this.#times.length) {
      if (this.index === this.#times.length - 1) this.seek(0);
      this.#start();
    }
  }

  pause() {
    if (!this.#playing) return;
    clearInterval(this.#playing.timer);
    this.#playing = null;
    setText(element('play'), 'Play');
  }

  #start(fromMs = this.#times[this.index]) {
    this.pause();
    this.#playing = { fromMs, startMs: performance.now(), timer: setInterval(() => this.#play(), PLAY_MS) };
    setText(element('play'), 'Pause');
  }

  #play() {
    const { fromMs, startMs } = this.#playing;
    const ms = fromMs + (performance.now() - startMs) * Number(element('speed').value);
    const index = this.#indexAt(ms);
    if (index > this.index) {
      this.#tellChanges(this.index, index);
      this.seek(index);
    }
    if (index === this.#times.length - 1) this.pause();
  }

  /** Tell of objects that are lost, or found again, after one image up to another one. */
  #tellChanges(from, to) {
    for (const { id, spans } of this.#objects) {
      spans.forEach(([first, , state], row) => {
        if (first <= from || first > to) return;
        const isFound = state === 'TRACKED' && spans.slice(0, row).some(([, , old]) => old === 'TRACKED');
        if (state !== 'LOST' && state !== 'OCCLUDED' && !isFound) return;
        const time = `${(this.#times[first] / 1000).toFixed(1)} s`;
        this.#tell('event', { event: state, object_id: id, time });
      });
    }
  }

  #indexAt(ms) {
    let [low, high] = [0, this.#times.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#times[middle] <= ms) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // --- prompts

  /** Prompts on an image. */
  promptsOf(index) {
    return this.isShown ? this.prompts.filter((item) => item.index === index) : [];
  }

  async delete(number) {
    const answer = await this.#connection.request({ type: 'delete', number });
    this.#tell('problem', answer.ok ? '' : answer.message);
  }

  #showPrompts({ file, prompts }) {
    this.prompts = prompts;
    const saved = file === null
      ? 'The console was started without --prompts FILE, so prompts cannot be saved.'
      : `${prompts.length} in ${file}`;
    setText(element('prompts-file'), saved);
    const ids = [...new Set(prompts.map((item) => item.id))];
    element('prompt-list').replaceChildren(...ids.map((id) => this.#makeGroup(id)));
    this.#drawTimeline();
    this.#tell('seek'); // the marks on the picture may differ
  }

  #makeGroup(id) {
    const button = (text, label, onclick) => {
      const item = make('button', { type: 'button', textContent: text, onclick });
      item.setAttribute('aria-label', label);
      return item;
    };
    const rows = this.prompts.filter((item) => item.id === id).map((item) => {
      const time = item.index === null ? '' : `image ${item.index}: `;
      const go = make('button', {
        type: 'button', className: 'go', textContent: `${time}${describe(item)}`,
        onclick: () => item.index !== null && this.seek(item.index),
      });
      const remove = button('Delete', `Delete prompt: ${time}${describe(item)} ${id}`, () => this.delete(item.number));
      return make('li', { className: 'row' }, go, remove);
    });
    const doing = id === '' ? [] : [
      button('Correct here', `Correct here: ${id} on this image`, () => this.#tell('correct', id)),
      button('End here', `End here: ${id} after this image`, () => this.#tell('remove', id)),
    ];
    return make(
      'li', {},
      make('div', { className: 'row' }, make('strong', { textContent: id || 'masks' }), make('div', { className: 'doing' }, ...doing)),
      make('ul', {}, ...rows),
    );
  }
}

/** Say in a few words what a prompt does. */
function describe(item) {
  const parts = [];
  if (item.box) parts.push('box');
  if (item.points.length) parts.push(item.points.length === 1 ? '1 point' : `${item.points.length} points`);
  if (item.mask) parts.push(item.mask);
  if (item.text) parts.push(`“${item.text}”`);
  if (!parts.length && item.action === 'refine') parts.push(`class ${item.class}`);
  const action = { add: 'add', refine: 'correct', remove: 'end' }[item.action];
  return `${action}${parts.length ? `, ${parts.join(' and ')}` : ''}`;
}

// The lists beside the picture: objects, events, numbers and diagnostics.

import { SIGNS } from './stage.js';

const MAX_EVENTS = 6;

/** Make an element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Change a text only if it differs, so that screen readers do not repeat it. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class ObjectList extends EventTarget {
  #list;
  #rows = new Map();

  constructor(list) {
    super();
    this.#list = list;
  }

  /** Show objects; chosen: the id of one of them, or null. */
  show(objects, chosen) {
    const ids = new Set(objects.map((item) => item.id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    for (const item of objects) {
      if (!this.#rows.has(item.id)) this.#add(item.id);
      this.#update(this.#rows.get(item.id), item, item.id === chosen);
    }
  }

  #add(id) {
    const tell = (type) => () => this.dispatchEvent(new CustomEvent(type, { detail: id }));
    const row = {
      swatch: make('canvas', { className: 'swatch', width: 30, height: 30 }),
      who: make('button', { className: 'who', type: 'button', onclick: tell('choose') }),
      kind: make('small'),
      sign: make('span', { className: 'sign' }),
      state: make('span'),
      meter: make('meter', { min: 0, max: 1, low: 0.5, high: 0.8, optimum: 1 }),
      confidence: make('span'),
      correct: make('button', { type: 'button', textContent: 'Correct', onclick: tell('correct') }),
      remove: make('button', { type: 'button', textContent: 'Remove', onclick: tell('remove') }),
    };
    row.swatch.setAttribute('aria-hidden', 'true');
    row.sign.setAttribute('aria-hidden', 'true');
    row.meter.setAttribute('aria-label', `confidence of ${id}`);
    row.correct.setAttribute('aria-label', `Correct ${id}`);
    row.remove.setAttribute('aria-label', `Remove ${id}`);
    row.who.append(id, ' ', row.kind);
    row.element = make(
      'li', {}, row.swatch, row.who,
      make('p', { className: 'what' }, make('span', {}, row.sign, ' ', row.state), row.meter, row.confidence),
      make('div', { className: 'doing' }, row.correct, row.remove),
    );
    row.element.dataset.id = id;
    this.#rows.set(id, row);
    this.#list.append(row.element);
  }

  #update(row, item, chosen) {
    row.element.className = chosen ? `${item.state} chosen` : item.state;
    row.who.setAttribute('aria-pressed', String(chosen));
    setText(row.kind, item.class);
    setText(row.sign, SIGNS[item.state]);
    setText(row.state, item.state);
    row.meter.value = item.confidence ?? 0;
    const flags = item.flags.filter((flag) => flag === 'CHANGED' || flag === 'PROMPT_MISFIT');
    setText(row.confidence, [item.confidence?.toFixed(2) ?? '–', ...flags].join(' '));
    if (row.color !== item.color + item.label) {
      row.color = item.color + item.label;
      drawSwatch(row.swatch, item);
    }
  }
}

/** Draw the colour of the outline with the number of the label, so that colour is not needed. */
function drawSwatch(canvas, item) {
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, 30, 30);
  context.fillStyle = '#000';
  context.fillRect(4, 4, 22, 22);
  context.lineWidth = 4;
  context.strokeStyle = item.color;
  context.strokeRect(3, 3, 24, 24);
  context.fillStyle = '#fff';
  context.font = '600 13px system-ui, sans-serif';
  context.textAlign = 'center';
  context.fillText(String(item.label), 15, 20);
}

export function addEvent(list, note) {
  const time = note.time ?? new Date().toLocaleTimeString([], { hour12: false });
  const who = note.object_id ? `${note.object_id}: ` : '';
  const detail = note.detail ? ` (${note.detail})` : '';
  list.prepend(make('li', {}, make('time', { textContent: time }), `${who}${note.event}${detail}`));
  while (list.children.length > MAX_EVENTS) list.lastChild.remove();
}

/** Show names and values as a list of definitions. */
export function showValues(list, values) {
  const names = Object.keys(values);
  const old = [...list.querySelectorAll('dt')].map((item) => item.textContent);
  if (old.join('\n') !== names.join('\n')) {
    list.replaceChildren(
      ...names.flatMap((name) => [make('dt', { textContent: name }), make('dd')]),
    );
  }
  list.querySelectorAll('dd').forEach((item, row) => setText(item, values[names[row]] || '–'));
}

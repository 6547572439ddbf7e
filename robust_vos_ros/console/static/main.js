// The page: live until something is pressed, frozen with a draft until it is added or cancelled.

import { Connection } from './connection.js';
import { Draft } from './draft.js';
import { ObjectList, addEvent, setText, showValues } from './panel.js';
import { Stage } from './stage.js';

const element = (id) => document.getElementById(id);
const NOTHING = 'Nothing is tracked. Tap an object in the picture.';
const OLD_MS = 2000; // a picture that is older is said to be

const connection = new Connection();
const stage = new Stage(element('view'));
const list = new ObjectList(element('objects'));

let newest = null; // what the console told last of the objects
let frame = null; // the newest picture: { head, bitmap, atMs }
let draft = null; // what is being pointed at; the picture is frozen while there is one
let status = null; // of the node
let chosen = null; // id of an object
let target = null; // id of the object that the next marks correct
let lastAdded = null;
let shownIds = new Set();
let arrivals = []; // when frames came, for the rate
let decoding = Promise.resolve();
let previewing = false;
let previewWanted = false;
let busy = false; // an add or a correction is on its way
let refusal = null; // of the console itself

const objects = () => newest?.objects ?? [];

function draw() {
  const shown = draft?.frame ?? frame;
  if (shown) stage.draw(shown, draft, chosen);
}

function alertWith(text) {
  setText(element('alert'), text);
  element('alert').hidden = !text;
}

// --- frames and notes from the console

connection.addEventListener('frame', ({ detail }) => {
  decoding = decoding.then(() => receive(detail)).catch(() => {}).finally(() => connection.thank());
});

async function receive({ head, picture }) {
  if (head.node !== connection.node) return; // of the camera before
  newest = head;
  showObjects();
  if (!picture) return; // it got lost on the way: the one before stays, with its own outlines
  const bitmap = await createImageBitmap(picture);
  const old = frame?.bitmap;
  frame = { head, bitmap, atMs: performance.now() };
  if (old && old !== draft?.frame.bitmap) old.close();
  arrivals = [...arrivals.filter((ms) => ms > frame.atMs - 3000), frame.atMs];
  if (!draft) draw();
}

function showObjects() {
  const items = objects();
  const ids = new Set(items.map((item) => item.id));
  if (shownIds.has(chosen) && !ids.has(chosen)) chosen = null; // it is gone, not yet to come
  shownIds = ids;
  list.show(items, chosen);
  element('none').hidden = items.length > 0;
  setText(element('none'), newest?.objects === null ? 'The node says nothing of its objects.' : NOTHING);
  element('reset').disabled = items.length === 0;
  element('undo-add').hidden = !items.some((item) => item.id === lastAdded);
  const classes = [...new Set(items.map((item) => item.class).filter(Boolean))];
  const options = element('classes');
  if (options.dataset.shown !== classes.join('\n')) {
    options.dataset.shown = classes.join('\n');
    options.replaceChildren(...classes.map((text) => new Option(text, text)));
  }
}

connection.addEventListener('nodes', ({ detail }) => {
  connection.node = detail.node;
  const names = [...new Set([...detail.nodes, detail.node])].sort();
  const menu = element('nodes');
  const there = (name) => (detail.nodes.includes(name) ? name : `${name} (not there)`);
  menu.replaceChildren(...names.map((name) => new Option(there(name), name, false, name === detail.node)));
});

connection.addEventListener('status', ({ detail }) => {
  status = detail;
  if (refusal) alertWith('');
  refusal = null;
  showState();
  showValues(element('values'), detail.values);
});

connection.addEventListener('event', ({ detail }) => addEvent(element('events'), detail));
connection.addEventListener('problem', ({ detail }) => alertWith(detail.message));
connection.addEventListener('answer', ({ detail }) => detail.ok || alertWith(detail.message));
connection.addEventListener('refused', ({ detail }) => {
  refusal = detail;
  alertWith(detail.message);
});
connection.addEventListener('offline', () => {
  status = null;
  showState();
});

function showState() {
  const chip = element('link');
  const [text, kind] = !status
    ? [refusal ? 'refused' : 'console not reached', 'bad']
    : !status.present ? ['node not there', 'bad']
    : status.silent ? ['node silent', '']
    : ['live', 'good'];
  setText(chip, text);
  chip.className = `chip ${kind}`;
  const age = frame ? performance.now() - frame.atMs : Infinity;
  const old = age > OLD_MS && !draft;
  element('hint').hidden = !old;
  setText(element('hint'), frame ? `no new picture for ${Math.round(age / 1000)} s` : 'waiting for a picture');
  setText(element('health'), status ? `${status.level}: ${status.message}` : 'unknown');
  const head = newest ?? {};
  const span = arrivals.length > 1 ? arrivals.at(-1) - arrivals[0] : 0;
  showValues(element('numbers'), {
    Latency: head.latency_ms === undefined ? '' : `${head.latency_ms} ms, of which tracker ${head.engine_ms} ms`,
    'Frames dropped': head.dropped === undefined ? '' : String(head.dropped),
    'Pictures here': span && !old ? `${((arrivals.length - 1) / span * 1000).toFixed(1)} per second` : '',
  });
}

setInterval(() => {
  showState();
  showTimeLeft();
}, 500);

// --- the draft

function freeze() {
  if (draft || !frame) return;
  draft = new Draft(frame, target);
  alertWith('');
  connection.send({ type: 'freeze', stamp: frame.head.stamp });
  element('name').value = draft.target ?? freeName();
  element('class').value = '';
  showDraft();
}

function freeName() {
  for (let number = 1; ; number++) {
    if (!objects().some((item) => item.id === `object_${number}`)) return `object_${number}`;
  }
}

function thaw() {
  if (element('draft').contains(document.activeElement)) element('view').focus({ preventScroll: true });
  const bitmap = draft?.frame.bitmap;
  if (bitmap && bitmap !== frame?.bitmap) bitmap.close();
  draft = null;
  target = null;
  showDraft();
}

function showDraft() {
  element('frozen').hidden = !draft;
  element('draft').hidden = !draft;
  if (draft) {
    const correcting = draft.target !== null;
    setText(element('draft-title'), correcting ? `Correct ${draft.target}` : 'New object');
    element('name-label').hidden = correcting;
    element('class').placeholder = correcting ? 'as it is' : 'none';
    setText(element('add'), correcting ? 'Correct' : 'Add');
    element('add').disabled = draft.isEmpty || busy;
    element('undo').disabled = draft.isEmpty && !draft.corner;
    if (draft.isEmpty) say(draft.corner ? 'Set the other corner with B.' : 'Tap the object, or drag a box around it.');
    showTimeLeft();
  }
  showState();
  draw();
}

const say = (text) => setText(element('draft-text'), text);

function showTimeLeft() {
  if (!draft) return;
  const left = element('left');
  const limit = status?.buffer_s;
  const seconds = limit - (performance.now() - draft.startMs) / 1000;
  left.classList.toggle('late', seconds < 0);
  if (typeof limit !== 'number') setText(left, '');
  else if (seconds < 0) setText(left, 'too old to add; cancel, and point again');
  else setText(left, `picture kept for ${Math.ceil(seconds)} s`);
}

function marked() {
  alertWith('');
  showDraft();
  if (draft.isEmpty) return;
  if (draft.target === null) preview();
  else say(`Marks for ${draft.target}; Correct applies them.`);
}

/** Ask for a preview; while one is on its way, remember that a newer one is wanted. */
async function preview() {
  previewWanted = true;
  if (previewing) return;
  previewing = true;
  while (previewWanted && draft && !draft.isEmpty) {
    previewWanted = false;
    const asked = draft;
    say('Looking …');
    const answer = await connection.request({ type: 'preview', ...asked.prompt });
    if (draft !== asked || previewWanted) continue;
    asked.preview = answer.ok ? answer.objects : null;
    const [item] = answer.objects ?? [];
    say(answer.ok ? describe(item, answer.message) : '');
    if (!answer.ok) alertWith(answer.message);
    draw();
  }
  previewing = false;
}

function describe(item, message) {
  if (!item?.area) return 'Nothing found there; set more points, or drag a box.';
  const quality = item.quality === null ? '' : `, expected overlap ${item.quality.toFixed(2)}`;
  const warning = message.split('; ').slice(1).join('; ');
  return `Preview: ${item.area.toLocaleString()} pixels${quality}. ${warning}`;
}

async function apply() {
  if (!draft || draft.isEmpty || busy) return;
  const asked = draft;
  const correcting = asked.target !== null;
  const name = correcting ? asked.target : element('name').value.trim();
  if (!name) return alertWith('Give the object a name first.');
  busy = true;
  showDraft();
  say(correcting ? 'Correcting …' : 'Adding …');
  const answer = await connection.request({
    type: correcting ? 'refine' : 'add',
    object_id: name,
    class_id: element('class').value.trim(),
    ...asked.prompt,
  });
  busy = false;
  if (draft === asked && answer.ok) {
    lastAdded = correcting ? lastAdded : name;
    chosen = name;
    thaw();
  } else if (draft) {
    showDraft();
    say('');
  }
  // What the node noticed comes after the first part of its sentence.
  alertWith(answer.ok ? answer.message.split('; ').slice(1).join('; ') : answer.message);
}

async function remove(id) {
  const answer = await connection.request({ type: 'remove', object_ids: [id] });
  alertWith(answer.ok ? '' : answer.message);
  if (answer.ok && lastAdded === id) lastAdded = null;
}

function correct(id) {
  if (draft) thaw();
  target = chosen = id;
  freeze();
  element('view').focus({ preventScroll: true });
}

function undo() {
  if (draft) {
    if (!draft.undo() && draft.corner) draft.corner = null;
    marked();
  } else if (lastAdded !== null) {
    remove(lastAdded);
  }
}

// --- fingers, mouse and keys

stage.addEventListener('redraw', draw);
stage.addEventListener('press', freeze);
stage.addEventListener('abort', () => (draft?.isEmpty ? thaw() : draw()));
stage.addEventListener('undo', undo);
stage.addEventListener('point', ({ detail }) => {
  if (!draft) return;
  draft.addPoint(...detail);
  marked();
});
stage.addEventListener('box', ({ detail }) => {
  if (!draft) return;
  draft.setBox(...detail);
  marked();
});
stage.addEventListener('corner', ({ detail }) => {
  if (!draft) return;
  if (draft.corner) draft.setBox(...draft.corner, ...detail);
  else draft.corner = detail;
  marked();
});

list.addEventListener('choose', ({ detail }) => choose(detail));
list.addEventListener('correct', ({ detail }) => correct(detail));
list.addEventListener('remove', ({ detail }) => remove(detail));

function choose(id) {
  chosen = chosen === id ? null : id;
  showObjects();
  draw();
}

element('draft').addEventListener('submit', (event) => {
  event.preventDefault();
  apply();
});
element('undo').addEventListener('click', undo);
element('undo-add').addEventListener('click', undo);
element('cancel').addEventListener('click', thaw);
element('reset').addEventListener('click', () => element('confirm').showModal());
element('confirm').addEventListener('close', async ({ target: dialog }) => {
  if (dialog.returnValue !== 'yes') return;
  dialog.returnValue = '';
  const answer = await connection.request({ type: 'reset' });
  alertWith(answer.ok ? '' : answer.message);
});
element('nodes').addEventListener('change', async ({ target: menu }) => {
  thaw();
  frame = newest = null;
  lastAdded = null;
  connection.node = menu.value;
  showObjects();
  const answer = await connection.request({ type: 'watch', node: menu.value });
  alertWith(answer.ok ? '' : answer.message);
});

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || element('confirm').open) return;
  if (event.key === 'Escape' && draft) return thaw();
  const place = event.target.closest('input, select, button, summary, textarea');
  if (place) return; // keys mean what they mean there
  const key = event.key.toLowerCase();
  const item = objects()[Number(key) - 1];
  if (key === 'enter') apply();
  else if (key === ' ') draft ? thaw() : freeze();
  else if (key === 'u') undo();
  else if (key === 'c' && chosen !== null) correct(chosen);
  else if (key === 'delete' && chosen !== null) remove(chosen);
  else if (key >= '1' && key <= '9' && item) choose(item.id);
  else return;
  event.preventDefault();
});

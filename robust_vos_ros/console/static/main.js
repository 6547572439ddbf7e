// The page: live until something is pressed, frozen with a draft until it is added or cancelled.

import { Bag } from './bag.js';
import { Connection } from './connection.js';
import { Drafting } from './drafting.js';
import { ObjectList, addEvent, setText, showValues } from './panel.js';
import { Stage } from './stage.js';
import { Words } from './words.js';

const element = (id) => document.getElementById(id);
const OLD_MS = 2000; // from this age on, the page says how old the picture is

const connection = new Connection();
const stage = new Stage(element('view'));
const list = new ObjectList(element('objects'));
const bag = new Bag(connection);
const drafting = new Drafting(connection, freeName);
const words = new Words(connection, () => (bag.isShown ? frame?.head.stamp : null));

let newest = null; // the newest objects from the console
let frame = null; // the newest picture: { head, bitmap, atMs }
let status = null; // of the node
let chosen = null; // id of an object
let lastAdded = null; // id of an object, or number of a prompt for a bag
let shownIds = new Set();
let arrivals = []; // when frames came, for the rate
let decoding = Promise.resolve();
let refusal = null; // of the console itself

const objects = () => newest?.objects ?? [];

function draw() {
  const { draft } = drafting;
  const shown = draft?.frame ?? frame;
  if (shown) stage.draw(shown, draft, chosen, draft ? [] : bag.promptsOf(shown.head.index));
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
  if (head.node !== connection.node) return; // of the camera that was shown before
  newest = head;
  showObjects();
  if (!picture) return; // it was lost: the picture before stays, with its own outlines
  const bitmap = await createImageBitmap(picture);
  const old = frame?.bitmap;
  frame = { head, bitmap, atMs: performance.now() };
  if (old && old !== drafting.draft?.frame.bitmap) old.close();
  arrivals = [...arrivals.filter((ms) => ms > frame.atMs - 3000), frame.atMs];
  if (!drafting.draft) draw();
}

function showObjects() {
  const items = objects();
  const ids = new Set(items.map((item) => item.id));
  if (shownIds.has(chosen) && !ids.has(chosen)) chosen = null; // it was removed, not just added
  shownIds = ids;
  list.show(items, chosen);
  element('none').hidden = items.length > 0;
  setText(element('none'), whyNone());
  element('reset').disabled = bag.isShown ? !bag.prompts.length : items.length === 0;
  const isKnown = bag.isShown
    ? bag.prompts.some((item) => item.number === lastAdded)
    : items.some((item) => item.id === lastAdded);
  element('undo-add').hidden = !isKnown;
  const classes = [...new Set([...items, ...bag.prompts].map((item) => item.class).filter(Boolean))];
  const options = element('classes');
  if (options.dataset.shown !== classes.join('\n')) {
    options.dataset.shown = classes.join('\n');
    options.replaceChildren(...classes.map((text) => new Option(text, text)));
  }
}

function whyNone() {
  if (bag.isShown) return newest?.objects ? 'No object is tracked in this image.' : 'The bag has no results for this image.';
  return newest?.objects === null ? 'The node publishes no objects.' : 'Nothing is tracked. Tap an object in the picture.';
}

connection.addEventListener('nodes', ({ detail }) => {
  connection.node = detail.node;
  if (bag.isShown !== detail.is_bag) showMode(detail.is_bag);
  const names = [...new Set([...detail.nodes, detail.node])].sort();
  const menu = element('nodes');
  const describe = (name) => (detail.nodes.includes(name) ? name : `${name} (not running)`);
  menu.replaceChildren(...names.map((name) => new Option(describe(name), name, false, name === detail.node)));
});

function showMode(isBag) {
  reset();
  bag.show(isBag);
  stage.leaveRoom(isBag);
  setText(element('undo-add'), isBag ? 'Undo prompt' : 'Undo add');
  setText(element('reset'), isBag ? 'Delete all prompts' : 'Remove all');
  setText(element('nodes-label'), isBag ? 'Bag' : 'Camera');
  setText(element('words-label'), isBag ? 'Add by words' : 'Find by words');
  setText(element('find'), isBag ? 'Add' : 'Find');
}

connection.addEventListener('status', ({ detail }) => {
  status = detail;
  if (refusal) alertWith('');
  refusal = null;
  words.permit(detail.no_words);
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
    ? [refusal ? 'refused' : 'console not reachable', 'bad']
    : bag.isShown ? ['recorded', 'good']
    : !status.present ? ['node not running', 'bad']
    : status.silent ? ['no results', '']
    : ['live', 'good'];
  setText(chip, text);
  chip.className = `chip ${kind}`;
  const ageMs = frame ? performance.now() - frame.atMs : Infinity;
  const isOld = ageMs > OLD_MS && !drafting.draft && !(bag.isShown && frame);
  element('hint').hidden = !isOld;
  setText(element('hint'), frame ? `no new picture for ${Math.round(ageMs / 1000)} s` : 'waiting for a picture');
  setText(element('health'), status ? `${status.level}: ${status.message}` : 'unknown');
  const head = newest ?? {};
  const span = arrivals.length > 1 ? arrivals.at(-1) - arrivals[0] : 0;
  showValues(element('numbers'), {
    Latency: head.latency_ms ? `${head.latency_ms} ms, of which tracker ${head.engine_ms} ms` : '',
    'Frames dropped': head.dropped === undefined ? '' : String(head.dropped),
    'Pictures here': span && ageMs < OLD_MS ? `${((arrivals.length - 1) / span * 1000).toFixed(1)} per second` : '',
  });
}

setInterval(() => {
  showState();
  drafting.showTimeLeft(status?.buffer_s ?? null);
}, 500);

/** Forget what was shown, before another camera is. */
function reset() {
  drafting.thaw();
  frame = newest = lastAdded = chosen = null;
  words.clear();
  showObjects();
}

// --- the draft

function freeze() {
  bag.pause();
  drafting.freeze(frame);
}

function freeName() {
  const taken = new Set([...objects(), ...bag.prompts].map((item) => item.id));
  for (let number = 1; ; number++) {
    if (!taken.has(`object_${number}`)) return `object_${number}`;
  }
}

drafting.addEventListener('problem', ({ detail }) => alertWith(detail));
drafting.addEventListener('change', () => {
  showState();
  draw();
});
drafting.addEventListener('released', ({ detail }) => {
  if (detail.bitmap !== frame?.bitmap) detail.bitmap.close();
});
drafting.addEventListener('applied', ({ detail: { name, isNew, answer } }) => {
  if (bag.isShown) lastAdded = answer.number;
  else if (isNew) lastAdded = name;
  chosen = name;
});

words.addEventListener('problem', ({ detail }) => alertWith(detail));
words.addEventListener('found', ({ detail: { found, number } }) => {
  if (bag.isShown) lastAdded = number;
  else if (found.length) {
    chosen = found[0][0];
    if (!shownIds.has(chosen)) lastAdded = chosen; // else it was tracked before
  }
  showObjects();
});

async function remove(id) {
  const stamp = bag.isShown ? frame?.head.stamp : null;
  const answer = await connection.request({ type: 'remove', object_ids: [id], stamp });
  alertWith(answer.ok ? '' : answer.message);
  if (!answer.ok) return;
  if (bag.isShown) lastAdded = answer.number;
  else if (lastAdded === id) lastAdded = null;
}

function correct(id) {
  chosen = id;
  bag.pause();
  drafting.correct(id, frame);
}

function undo() {
  if (drafting.draft) drafting.undo();
  else if (lastAdded !== null) bag.isShown ? bag.delete(lastAdded) : remove(lastAdded);
}

// --- fingers, mouse and keys

stage.addEventListener('redraw', draw);
stage.addEventListener('press', freeze);
stage.addEventListener('abort', () => (drafting.draft?.isEmpty ? drafting.thaw() : draw()));
stage.addEventListener('undo', undo);
stage.addEventListener('point', ({ detail }) => drafting.addPoint(...detail));
stage.addEventListener('box', ({ detail }) => drafting.setBox(...detail));
stage.addEventListener('corner', ({ detail }) => drafting.setCorner(...detail));

list.addEventListener('choose', ({ detail }) => choose(detail));
list.addEventListener('correct', ({ detail }) => correct(detail));
list.addEventListener('remove', ({ detail }) => remove(detail));

bag.addEventListener('seek', () => {
  if (drafting.draft && drafting.draft.frame.head.index !== bag.index) drafting.thaw();
  showObjects();
  draw();
});
bag.addEventListener('problem', ({ detail }) => alertWith(detail));
bag.addEventListener('event', ({ detail }) => addEvent(element('events'), detail));
bag.addEventListener('correct', ({ detail }) => correct(detail));
bag.addEventListener('remove', ({ detail }) => remove(detail));

function choose(id) {
  chosen = chosen === id ? null : id;
  showObjects();
  draw();
}

element('undo-add').addEventListener('click', undo);
element('reset').addEventListener('click', () => {
  const [text, yes] = bag.isShown
    ? ['Delete all prompts from the file?', 'Delete all'] : ['Remove all objects?', 'Remove all'];
  setText(element('confirm-text'), text);
  setText(element('confirm-yes'), yes);
  element('confirm').showModal();
});
element('confirm').addEventListener('close', async ({ target: dialog }) => {
  if (dialog.returnValue !== 'yes') return;
  dialog.returnValue = '';
  const answer = await connection.request({ type: 'reset' });
  alertWith(answer.ok ? '' : answer.message);
});
element('nodes').addEventListener('change', async ({ target: menu }) => {
  reset();
  connection.node = menu.value;
  const answer = await connection.request({ type: 'watch', node: menu.value });
  alertWith(answer.ok ? '' : answer.message);
});

const BAG_KEYS = {
  ' ': () => bag.toggle(), ',': () => bag.step(-1), '.': () => bag.step(1),
  j: () => bag.skip(-1), l: () => bag.skip(1), '[': () => bag.jump(-1), ']': () => bag.jump(1),
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || element('confirm').open) return;
  if (event.key === 'Escape' && drafting.draft) return drafting.thaw();
  if (event.target.closest('input:not([type=range]), select, textarea')) return;
  if (event.target.closest('button, summary') && (event.key === ' ' || event.key === 'Enter')) return;
  const key = event.key.toLowerCase();
  const item = objects()[Number(key) - 1];
  if (key === 'enter') drafting.apply();
  else if (bag.isShown && !drafting.draft && BAG_KEYS[key]) BAG_KEYS[key]();
  else if (key === ' ') drafting.draft ? drafting.thaw() : freeze();
  else if (key === '/') words.focus();
  else if (key === 'u') undo();
  else if (key === 'c' && chosen !== null) correct(chosen);
  else if (key === 'delete' && chosen !== null) remove(chosen);
  else if (key >= '1' && key <= '9' && item) choose(item.id);
  else return;
  event.preventDefault();
});

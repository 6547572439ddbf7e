// A new or corrected object: from the frozen picture to the answer of Add.

import { Draft } from './draft.js';
import { setText } from './panel.js';

const element = (id) => document.getElementById(id);
const say = (text) => setText(element('draft-text'), text);

/**
 * Dispatches 'change' when the draft begins, changes or ends, 'problem' with a text to show (or ''),
 * 'applied' with { name, isNew, answer }, and 'released' with a frame that is frozen no more.
 */
export class Drafting extends EventTarget {
  #connection;
  #freeName;
  #limitS = null; // how long the node keeps a picture
  #target = null; // id of the object that the next marks correct
  #isPreviewing = false;
  #isPreviewWanted = false;
  #isBusy = false; // an add or a correction is under way
  draft = null; // the picture is frozen while there is one

  constructor(connection, freeName) {
    super();
    this.#connection = connection;
    this.#freeName = freeName;
    element('draft').addEventListener('submit', (event) => {
      event.preventDefault();
      this.apply();
    });
    element('class').addEventListener('input', () => this.#show());
    element('undo').addEventListener('click', () => this.undo());
    element('cancel').addEventListener('click', () => this.thaw());
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Freeze a frame, unless one is frozen. */
  freeze(frame) {
    if (this.draft || !frame) return;
    this.draft = new Draft(frame, this.#target);
    this.#tell('problem', '');
    this.#connection.send({ type: 'freeze', stamp: frame.head.stamp });
    element('name').value = this.draft.target ?? this.#freeName();
    element('class').value = '';
    this.#show();
  }

  /** Correct an object on a frame. */
  correct(id, frame) {
    if (this.draft) this.thaw();
    this.#target = id;
    this.freeze(frame);
    element('view').focus({ preventScroll: true });
  }

  /** End the draft. */
  thaw() {
    if (element('draft').contains(document.activeElement)) element('view').focus({ preventScroll: true });
    const frame = this.draft?.frame;
    this.draft = this.#target = null;
    this.#show();
    if (frame) this.#tell('released', frame);
  }

  addPoint(x, y, label) {
    if (!this.draft) return;
    this.draft.addPoint(x, y, label);
    this.#marked();
  }

  setBox(...box) {
    if (!this.draft) return;
    this.draft.setBox(...box);
    this.#marked();
  }

  setCorner(x, y) {
    if (!this.draft) return;
    if (this.draft.corner) this.draft.setBox(...this.draft.corner, x, y);
    else this.draft.corner = [x, y];
    this.#marked();
  }

  undo() {
    if (!this.draft.undo() && this.draft.corner) this.draft.corner = null;
    this.#marked();
  }

  /** Say how long the picture can still be added; limitS: how long the node keeps it, or null. */
  showTimeLeft(limitS) {
    if (limitS !== undefined) this.#limitS = limitS;
    if (!this.draft) return;
    const seconds = this.#limitS - (performance.now() - this.draft.startMs) / 1000;
    const isLate = this.#limitS !== null && seconds < 0;
    const isClassAlone = this.draft.isEmpty && this.#isReady; // needs no picture
    element('left').classList.toggle('late', isLate && !isClassAlone);
    if (this.#limitS === null || isClassAlone) setText(element('left'), '');
    else if (isLate) setText(element('left'), 'too old to add; cancel, and point again');
    else setText(element('left'), `picture kept for ${Math.ceil(seconds)} s`);
  }

  /** Whether there are marks, or a class for a tracked object. */
  get #isReady() {
    const { draft } = this;
    return Boolean(draft && (!draft.isEmpty || (draft.target !== null && element('class').value.trim())));
  }

  #show() {
    const draft = this.draft;
    element('frozen').hidden = !draft;
    element('draft').hidden = !draft;
    if (draft) {
      const correcting = draft.target !== null;
      setText(element('draft-title'), correcting ? `Correct ${draft.target}` : 'New object');
      element('name-label').hidden = correcting;
      element('class').placeholder = correcting ? 'unchanged' : 'none';
      setText(element('add'), correcting ? 'Correct' : 'Add');
      element('add').disabled = !this.#isReady || this.#isBusy;
      element('undo').disabled = draft.isEmpty && !draft.corner;
      if (draft.isEmpty) say(draft.corner ? 'Set the other corner with B.' : correcting ? 'Tap the object, drag a box around it, or change the class alone.' : 'Tap the object, or drag a box around it.');
      this.showTimeLeft();
    }
    this.#tell('change');
  }

  #marked() {
    this.#tell('problem', '');
    this.#show();
    if (this.draft.isEmpty) return;
    if (this.draft.target === null) this.#preview();
    else say(`Marks for ${this.draft.target}; Correct applies them.`);
  }

  /** Ask for a preview; while one is under way, remember that a newer one is wanted. */
  async #preview() {
    this.#isPreviewWanted = true;
    if (this.#isPreviewing) return;
    this.#isPreviewing = true;
    while (this.#isPreviewWanted && this.draft && !this.draft.isEmpty) {
      this.#isPreviewWanted = false;
      const asked = this.draft;
      say('Segmenting …');
      const answer = await this.#connection.request({ type: 'preview', ...asked.prompt });
      if (this.draft !== asked || this.#isPreviewWanted) continue;
      asked.preview = answer.ok ? answer.objects : null;
      say(answer.ok ? describe(answer.objects[0], answer.message) : '');
      if (!answer.ok) this.#tell('problem', answer.message);
      this.#tell('change');
    }
    this.#isPreviewing = false;
  }

  /** Add the object, or correct it. */
  async apply() {
    if (!this.#isReady || this.#isBusy) return;
    const asked = this.draft;
    const isNew = asked.target === null;
    const name = isNew ? element('name').value.trim() : asked.target;
    if (!name) {
      this.#tell('problem', 'Give the object a name first.');
      return;
    }
    this.#isBusy = true;
    this.#show();
    say(isNew ? 'Adding …' : 'Correcting …');
    const answer = await this.#connection.request({
      type: isNew ? 'add' : 'refine',
      object_id: name,
      class_id: element('class').value.trim(),
      ...asked.prompt,
    });
    this.#isBusy = false;
    if (this.draft === asked && answer.ok) {
      this.#tell('applied', { name, isNew, answer });
      this.thaw();
    } else if (this.draft) {
      this.#show();
      say('');
    }
    // Warnings follow the first part of the sentence.
    this.#tell('problem', answer.ok ? warningsOf(answer.message) : answer.message);
  }
}

function describe(item, message) {
  if (!item?.area) return 'No object found there; set more points, or drag a box.';
  const quality = item.quality === null ? '' : `, expected overlap ${item.quality.toFixed(2)}`;
  return `Preview: ${item.area.toLocaleString()} pixels${quality}. ${warningsOf(message)}`;
}

const warningsOf = (message) => message.split('; ').slice(1).join('; ');

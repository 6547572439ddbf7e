// Finding by words: in the newest image of a node, or as a prompt for a bag.

import { setText } from './panel.js';

const element = (id) => document.getElementById(id);

/** Dispatches 'problem' with a text to show (or ''), and 'found' with the answer. */
export class Words extends EventTarget {
  #connection;
  #stampOf;
  #isBusy = false;
  #why = ''; // words cannot be used

  /** stampOf: returns the stamp of the image of a bag that is shown; null for a node. */
  constructor(connection, stampOf) {
    super();
    this.#connection = connection;
    this.#stampOf = stampOf;
    element('words').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#find();
    });
    element('words').addEventListener('keydown', (event) => {
      if (event.key === 'Escape') element('view').focus({ preventScroll: true });
    });
  }

  /** Let words be used, or say why they cannot be. */
  permit(why) {
    if (why === this.#why) return;
    this.#why = why;
    setText(element('words-note'), why);
    this.#update();
  }

  /** Forget an answer: another camera is shown. */
  clear() {
    setText(element('words-note'), this.#why);
  }

  focus() {
    element('text').focus();
    element('text').select();
  }

  #update() {
    for (const item of element('words').elements) item.disabled = Boolean(this.#why);
    element('find').disabled ||= this.#isBusy;
  }

  async #find() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#update();
    setText(element('words-note'), 'Looking …');
    const answer = await this.#connection.request({
      type: 'find',
      text: element('text').value,
      max_objects: element('most').valueAsNumber,
      mode: element('look').value,
      stamp: this.#stampOf(),
    });
    this.#isBusy = false;
    this.#update();
    setText(element('words-note'), answer.ok ? answer.message : this.#why);
    this.dispatchEvent(new CustomEvent('problem', { detail: answer.ok ? '' : answer.message }));
    if (answer.ok) this.dispatchEvent(new CustomEvent('found', { detail: answer }));
  }
}

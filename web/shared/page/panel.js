/**
 * Panel: a part of a page that fails and recovers on its own. Guarantees that an error while it
 * is drawn stays inside it, is reported once, and leaves a button that tries again.
 */
import { errorMessage } from "../api/errors.js";
import { Freshness, Notice, Skeleton } from "../parts.js";
import { Component, html } from "../view.js";
import { addErrorReport } from "./error_reports.js";

/**
 * @typedef {object} PanelProps
 * @property {string} name for reports: lower case, such as "wallets"
 * @property {string} title
 * @property {import("../api/polling.js").Polled} [polled] what it shows; children is then called
 *   with the data as soon as there is any
 * @property {any} [actions] buttons beside the title
 * @property {any} [skeleton] shown until the first answer
 * @property {string} [className]
 * @property {any} children nodes, or a function that draws the data
 */

/** Catches the errors of the components below it. @extends {Component<any, {error: any}>} */
class Boundary extends Component {
  constructor(props) {
    super(props);
    this.state = { error: null };
    this.retry = this.retry.bind(this);
  }

  componentDidCatch(error) {
    addErrorReport({ kind: "render", panel: this.props.name, error });
    this.showRetry(error);
  }

  /** Replace the content with a button that tries again. @param {unknown} error */
  showRetry(error) {
    this.setState({ error: error ?? new Error("thrown without an error object") });
  }

  /** Draw the content again. */
  retry() {
    this.setState({ error: null });
    this.props.polled?.refresh();
  }
}

/** Catches errors of the page outside its panels. */
export class PageBoundary extends Boundary {
  render({ children }, { error }) {
    return error ? html`<${Broken} onRetry=${this.retry} />` : children;
  }
}

/** @extends {Boundary<PanelProps>} */
export class Panel extends Boundary {
  render({ name, title, polled, actions, className = "" }, { error }) {
    const id = `panel-${name}`;
    return html`
      <section class="panel ${className}" data-panel=${name} aria-labelledby=${id}>
        <header class="panel-header">
          <h2 id=${id}>${title}</h2>
          ${polled && !error && html`<${Freshness} polled=${polled} />`}
          ${!error && html`<div class="panel-actions">${actions}</div>`}
        </header>
        ${error
          ? html`<${Broken} onRetry=${this.retry} />`
          : html`<${Content} ...${this.props} />`}
      </section>
    `;
  }
}

/** A component of its own, so that an error in `children` is thrown below the panel. */
function Content({ polled, skeleton, children }) {
  const draw = Array.isArray(children) ? children[0] : children;
  if (typeof draw !== "function") return children;
  if (polled.data !== null) return draw(polled.data);
  if (polled.error) {
    return html`
      <${Notice} kind="problem" title=${errorMessage(polled.error)}>
        <p>This page retries automatically.</p>
        <button class="button small" onClick=${polled.refresh}>Try now</button>
      </>
    `;
  }
  return skeleton ?? html`<${Skeleton} lines=${4} />`;
}

function Broken({ onRetry }) {
  return html`
    <div class="panel-broken" role="alert">
      <p><strong>This part of the page has failed.</strong></p>
      <p>The rest of the page still works, and no money is affected. The error was reported.</p>
      <button class="button" onClick=${onRetry}>Try again</button>
    </div>
  `;
}

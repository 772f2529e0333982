/** A status: an icon and a word, of which either suffices. */
import { CheckIcon, CrossIcon } from "../shared/icons.js";
import { html } from "../shared/view.js";
import { DashIcon, WarnIcon } from "./ops_icons.js";

const ICONS = { good: CheckIcon, warn: WarnIcon, bad: CrossIcon, quiet: DashIcon };

/** @param {{tone: "good" | "warn" | "bad" | "quiet", children: any}} props */
export function Mark({ tone, children }) {
  return html`<span class="mark-word ${tone}"><${ICONS[tone]} />${children}</span>`;
}

/** Icons that only the ops page has. */
import { Icon } from "../shared/icons.js";
import { html } from "../shared/view.js";

export const WarnIcon = () => html`<${Icon}><path d="M8 2.2 14.3 13H1.7z" /><path d="M8 6.5v3M8 11.4v.1" /></>`;
export const ClockIcon = () => html`<${Icon}><circle cx="8" cy="8" r="5.5" /><path d="M8 5v3.2l2 1.3" /></>`;
export const OutsideIcon = () => html`<${Icon}><path d="M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3 7.5 8.5" /></>`;
export const QuestionIcon = () => html`<${Icon}><path d="M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.6M8 12v.1" /></>`;
export const DashIcon = () => html`<${Icon}><path d="M4 8h8" /></>`;

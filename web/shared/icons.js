/** Line icons of 16 by 16 pixels in the colour of the text around them, and the logo. */
import { html } from "./view.js";

function Icon({ children }) {
  return html`
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor"
      stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      ${children}
    </svg>
  `;
}

/** The logo: a coin in two equal halves. The same drawing as mark.svg. */
export function Logo() {
  return html`
    <svg class="mark" viewBox="0 0 28 28" width="28" height="28" aria-hidden="true">
      <rect class="mark-ground" width="28" height="28" rx="8" />
      <path class="mark-coin" d="M13 6.1a8 8 0 0 0 0 15.8z" />
      <path class="mark-coin faint" d="M15 6.1a8 8 0 0 1 0 15.8z" />
    </svg>
  `;
}

export const CopyIcon = () => html`
  <${Icon}><rect x="5.5" y="5.5" width="8" height="8" rx="2" /><path d="M10.5 3.2A1.7 1.7 0 0 0 9 2.5H4.5a2 2 0 0 0-2 2V9c0 .6.3 1.2.7 1.5" /></>
`;
export const CheckIcon = () => html`<${Icon}><path d="m3 8.5 3.2 3L13 4.5" /></>`;
export const CrossIcon = () => html`<${Icon}><path d="m4 4 8 8M12 4l-8 8" /></>`;
export const ArrowIcon = () => html`<${Icon}><path d="M3 8h10M9 4l4 4-4 4" /></>`;
export const ChevronIcon = () => html`<${Icon}><path d="m4.5 6.5 3.5 3.5 3.5-3.5" /></>`;
export const PlusIcon = () => html`<${Icon}><path d="M8 3v10M3 8h10" /></>`;
export const SunIcon = () => html`
  <${Icon}><circle cx="8" cy="8" r="2.8" /><path d="M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7" /></>
`;
export const MoonIcon = () => html`<${Icon}><path d="M13.5 9.6A5.8 5.8 0 0 1 6.4 2.5a5.8 5.8 0 1 0 7.1 7.1z" /></>`;
export const AutoIcon = () => html`<${Icon}><circle cx="8" cy="8" r="5.5" /><path d="M8 2.5v11a5.5 5.5 0 0 0 0-11z" fill="currentColor" /></>`;

export const WarnIcon = () => html`<${Icon}><path d="M8 2.2 14.3 13H1.7z" /><path d="M8 6.5v3M8 11.4v.1" /></>`;
export const ClockIcon = () => html`<${Icon}><circle cx="8" cy="8" r="5.5" /><path d="M8 5v3.2l2 1.3" /></>`;
export const ExternalIcon = () => html`<${Icon}><path d="M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3 7.5 8.5" /></>`;
export const QuestionIcon = () => html`<${Icon}><path d="M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.6M8 12v.1" /></>`;
export const DashIcon = () => html`<${Icon}><path d="M4 8h8" /></>`;

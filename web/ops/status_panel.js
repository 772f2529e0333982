/**
 * One sentence of truth: how the whole stands, what that means for transfers, and how old the
 * knowledge is. Guarantees that nothing is called well while nobody answers.
 */
import { sentenceOf } from "../shared/api_errors.js";
import { useNow } from "../shared/clock.js";
import { absoluteTime, ago, duration } from "../shared/format.js";
import { CheckIcon, CrossIcon } from "../shared/icons.js";
import { Panel } from "../shared/panel.js";
import { html, useEffect } from "../shared/view.js";
import { Mark } from "./mark.js";
import { QuestionIcon, WarnIcon } from "./ops_icons.js";

const STATUSES = {
  ok: { word: "All well", tone: "good", icon: CheckIcon, says: "Transfers are taken and settle." },
  degraded: {
    word: "Degraded",
    tone: "warn",
    icon: WarnIcon,
    says: "Nothing that was accepted is lost.",
  },
  down: {
    word: "Down",
    tone: "bad",
    icon: CrossIcon,
    says: "Transfers are refused with 503 for now. Nothing that was accepted is lost.",
  },
};
const COMPONENT_MARKS = {
  ok: { word: "OK", tone: "good" },
  degraded: { word: "Degraded", tone: "warn" },
  down: { word: "Down", tone: "bad" },
};
const TITLE = document.title;

/** @param {{polled: import("../shared/polling.js").Polled}} props with what was `Seen` */
export function StatusPanel({ polled }) {
  const isKnown = polled.data !== null && polled.error === null;
  usePageTitle(polled.data && (isKnown ? polled.data.overview.status : "unknown"));
  return html`
    <${Panel} name="status" title="Status" className=${`status ${isKnown ? polled.data.overview.status : ""}`}
      polled=${polled.data === null ? polled : { ...polled, error: null }}>
      ${({ overview }) => html`
        ${isKnown ? html`<${Verdict} overview=${overview} at=${polled.at} />` : html`<${NoAnswer} polled=${polled} />`}
        <p class="unseen" role="status">${announcement(overview, polled.error)}</p>
        <${Components} components=${overview.components} />
      `}
    </>
  `;
}

/** Whoever has the tab in the background sees it in its title. */
function usePageTitle(status) {
  const word = status === "unknown" ? "No answer" : STATUSES[status]?.word;
  useEffect(() => {
    document.title = status === null || status === "ok" ? TITLE : `${word} · ${TITLE}`;
  }, [status]);
}

function Verdict({ overview, at }) {
  const now = useNow();
  const { word, tone, icon, says } = STATUSES[overview.status];
  return html`
    <div class="verdict ${tone}">
      <span class="verdict-mark"><${icon} /></span>
      <p class="verdict-word">${word}</p>
      <p class="verdict-says">
        ${amissIn(overview).map((name) => html`
          <span key=${name} class="verdict-amiss">${capital(name)}: ${overview.components[name].detail}. </span>
        `)}
        ${says}
      </p>
      <p class="verdict-age" title=${absoluteTime(at)}>seen ${ago(at, now)}</p>
    </div>
  `;
}

function NoAnswer({ polled }) {
  const now = useNow();
  const wait_s = Math.ceil(((polled.retryAt ?? now) - now) / 1000);
  const { word } = STATUSES[polled.data.overview.status];
  return html`
    <div class="verdict unknown">
      <span class="verdict-mark"><${QuestionIcon} /></span>
      <p class="verdict-word">Not known</p>
      <p class="verdict-says">
        ${sentenceOf(polled.error)} All below is as of ${ago(polled.at, now)}; the last word was
        “${word}”.
      </p>
      <p class="verdict-age">
        ${wait_s > 0 ? `asked again in ${duration(wait_s)}` : "asking again"}
        <button type="button" class="button small" onClick=${polled.refresh}>Ask now</button>
      </p>
    </div>
  `;
}

function amissIn({ components }) {
  return Object.keys(components).filter((name) => components[name].status !== "ok");
}

function capital(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** What changes only when something happened, so that listening to it is no burden. */
function announcement(overview, error) {
  if (error) return `Status not known. ${sentenceOf(error)}`;
  const amiss = amissIn(overview);
  const { word } = STATUSES[overview.status];
  return amiss.length ? `${word}. Amiss: ${amiss.join(", ")}.` : `${word}.`;
}

/** Without what it means, which is said above. */
function shortened(detail) {
  return detail.split(": ")[0];
}

function Components({ components }) {
  return html`
    <dl class="components">
      ${Object.entries(components).map(([name, { status, detail }]) => {
        const { word, tone } = COMPONENT_MARKS[status];
        return html`
          <div key=${name} class="component ${tone}" data-component=${name}>
            <dt>${capital(name)}</dt>
            <dd><${Mark} tone=${tone}>${word}</><span class="component-detail">${status === "ok" ? detail : shortened(detail)}</span></dd>
          </div>
        `;
      })}
    </dl>
  `;
}

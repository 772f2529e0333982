/**
 * Status panel: the overall status, what it means for transfers, and each component. Guarantees
 * that no status is shown as current while the API does not answer.
 */
import { errorMessage } from "../../shared/api/errors.js";
import { absoluteTime, ago, duration, useNow } from "../../shared/format/times.js";
import { CheckIcon, CrossIcon, QuestionIcon, WarnIcon } from "../../shared/icons.js";
import { Panel } from "../../shared/page/panel.js";
import { Notice, StatusMark } from "../../shared/parts.js";
import { html, useEffect } from "../../shared/view.js";

const STATUSES = {
  ok: { word: "All well", tone: "good", icon: CheckIcon, meaning: "Transfers are accepted and processed." },
  degraded: {
    word: "Degraded",
    tone: "warn",
    icon: WarnIcon,
    meaning: "Accepted transfers are safe.",
  },
  down: {
    word: "Down",
    tone: "bad",
    icon: CrossIcon,
    meaning: "New transfers are refused with 503 for now. Accepted transfers are safe.",
  },
};
const COMPONENT_MARKS = {
  ok: { word: "OK", tone: "good" },
  degraded: { word: "Degraded", tone: "warn" },
  down: { word: "Down", tone: "bad" },
};
const TITLE = document.title;

/** @param {{polled: import("../../shared/api/polling.js").Polled}} props with a `KnownOverview` */
export function StatusPanel({ polled }) {
  const isCurrent = polled.data !== null && polled.error === null;
  usePageTitle(polled.data && (isCurrent ? polled.data.overview.status : "unknown"));
  return html`
    <${Panel} name="status" title="Status" className=${`status ${isCurrent ? polled.data.overview.status : ""}`}
      polled=${polled.data === null ? polled : { ...polled, error: null }}>
      ${({ overview }) => html`
        ${isCurrent ? html`<${CurrentStatus} overview=${overview} at=${polled.at} />` : html`<${UnknownStatus} polled=${polled} />`}
        <p class="unseen" role="status">${announcement(overview, polled.error)}</p>
        <${Components} components=${overview.components} />
        ${(overview.warnings ?? []).map((warning) => html`<${Notice} key=${warning} kind="warning" title=${`${capitalize(warning)}.`} />`)}
      `}
    </>
  `;
}

/** Show the status in the page's title too, for tabs in the background. */
function usePageTitle(status) {
  const word = status === "unknown" ? "No answer" : STATUSES[status]?.word;
  useEffect(() => {
    document.title = status === null || status === "ok" ? TITLE : `${word} · ${TITLE}`;
  }, [status]);
}

function CurrentStatus({ overview, at }) {
  const now = useNow();
  const { word, tone, icon, meaning } = STATUSES[overview.status];
  return html`
    <div class="verdict ${tone}">
      <span class="verdict-mark"><${icon} /></span>
      <p class="verdict-word">${word}</p>
      <p class="verdict-says">
        ${failingComponents(overview).map((name) => html`
          <span key=${name} class="verdict-problem">${capitalize(name)}: ${overview.components[name].detail}. </span>
        `)}
        ${meaning}
      </p>
      <p class="verdict-age" title=${absoluteTime(at)}>updated ${ago(at, now)}</p>
    </div>
  `;
}

function UnknownStatus({ polled }) {
  const now = useNow();
  const wait_s = Math.ceil(((polled.retryAt ?? now) - now) / 1000);
  const { word } = STATUSES[polled.data.overview.status];
  return html`
    <div class="verdict unknown">
      <span class="verdict-mark"><${QuestionIcon} /></span>
      <p class="verdict-word">Unknown</p>
      <p class="verdict-says">
        ${errorMessage(polled.error)} Everything below is as of ${ago(polled.at, now)}. The last
        known status was “${word}”.
      </p>
      <p class="verdict-age">
        ${wait_s > 0 ? `retry in ${duration(wait_s)}` : "retrying"}
        <button type="button" class="button small" onClick=${polled.refresh}>Retry now</button>
      </p>
    </div>
  `;
}

function failingComponents({ components }) {
  return Object.keys(components).filter((name) => components[name].status !== "ok");
}

function capitalize(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** Text for screen readers. It changes only when the status does, so it is not read all the time. */
function announcement(overview, error) {
  if (error) return `Status unknown. ${errorMessage(error)}`;
  const failing = failingComponents(overview);
  const { word } = STATUSES[overview.status];
  if (!failing.length) return `${word}.`;
  // Prices alone do not make the whole worse.
  if (overview.status === "ok") return `${word}, except for: ${failing.join(", ")}.`;
  return `${word}. Problems with: ${failing.join(", ")}.`;
}

/** The first part of a detail. The consequence after the colon is shown above. */
function withoutConsequence(detail) {
  return detail.split(": ")[0];
}

function Components({ components }) {
  return html`
    <dl class="components">
      ${Object.entries(components).map(([name, { status, detail }]) => {
        const { word, tone } = COMPONENT_MARKS[status];
        return html`
          <div key=${name} class="component ${tone}" data-component=${name}>
            <dt>${capitalize(name)}</dt>
            <dd><${StatusMark} tone=${tone}>${word}</><span class="component-detail">${status === "ok" ? detail : withoutConsequence(detail)}</span></dd>
          </div>
        `;
      })}
    </dl>
  `;
}

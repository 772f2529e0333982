/** Send panel: shows the form, and after sending the transfer. */
import { Panel } from "../../shared/page/panel.js";
import { Dialog, Empty, Notice } from "../../shared/parts.js";
import { html, useEffect, useRef, useState } from "../../shared/view.js";
import { TransferForm, emptyDraft } from "./transfer_form.js";
import { TransferView } from "./transfer_view.js";

/**
 * @param {object} props
 * @param {import("../outbox.js").Outbox} props.outbox
 * @param {import("../../shared/api/polling.js").Polled} props.polled the wallets
 * @param {string | null} props.selected the id of the selected wallet
 * @param {string | null} props.shown the key of the transfer to show instead of the form
 * @param {(key: string | null) => void} props.onShow
 */
export function SendPanel({ outbox, polled, selected, shown, onShow }) {
  const entry = outbox.find(shown);
  const draw = (wallets) => html`
    <${Sending} outbox=${outbox} wallets=${wallets} selected=${selected} entry=${entry} onShow=${onShow} />
  `;
  // A transfer is shown and continues even while the wallets cannot be fetched.
  return html`
    <${Panel} name="send" title=${entry ? "Transfer" : "Send"} polled=${entry ? undefined : polled}>
      ${entry ? draw(polled.data ?? []) : draw}
    </>
  `;
}

function Sending({ outbox, wallets, selected, entry, onShow }) {
  const [draft, setDraft] = useState(() => emptyDraft(selected ?? ""));
  const [duplicate, setDuplicate] = useState(null);
  const [refused, setRefused] = useState({});
  const isSubmitting = useRef(false);
  const hasShown = useRef(false);
  if (entry) hasShown.current = true;
  useEffect(() => {
    if (selected) setDraft((known) => ({ ...known, source: selected }));
  }, [selected]);
  useEffect(() => {
    isSubmitting.current = false;
  }, [entry?.key]);

  const send = (body) => {
    // A second click can come before the form is gone, and must not send again.
    if (isSubmitting.current) return;
    isSubmitting.current = true;
    setDuplicate(null);
    onShow(outbox.submit(body));
  };
  const check = (body) => {
    const open = outbox.entries.find(
      (known) => mayGoThrough(known) && isSame(known.body, body),
    );
    if (open) setDuplicate({ entry: open, body });
    else send(body);
  };
  const startNew = () => {
    setDraft({ ...draft, amount: "", reference: "" });
    setRefused({});
    onShow(null);
  };
  const correct = () => {
    setDraft(draftOf(entry.body, wallets));
    setRefused(errorsOf(entry.problem));
    onShow(null);
  };

  if (entry) {
    return html`
      <${TransferView} entry=${entry} outbox=${outbox} wallets=${wallets} onNew=${startNew} onCorrect=${correct} />
    `;
  }
  const usable = wallets.filter((wallet) => wallet.status === "active" && wallet.kind !== "transit");
  if (!usable.length) return html`<${Empty} title="No wallet to send from">Create a wallet first.</>`;
  if (!outbox.hasRoom) {
    return html`<${Notice} kind="warning" title="Too many transfers are in progress">Wait until some of them have ended, then send this one.</>`;
  }
  return html`
    <${TransferForm} draft=${draft} onDraft=${setDraft} wallets=${usable} refused=${refused} takesFocus=${hasShown.current} onSend=${check} />
    ${duplicate &&
    html`
      <${DuplicateDialog} onResume=${() => {
        outbox.resume(duplicate.entry.key);
        onShow(duplicate.entry.key);
        setDuplicate(null);
      }} phase=${duplicate.entry.phase} canResume=${outbox.canResume(duplicate.entry)} onSecond=${() => send(duplicate.body)} onClose=${() => setDuplicate(null)} />
    `}
  `;
}

function mayGoThrough({ phase, isInDoubt }) {
  return phase === "sending" || (phase === "stopped" && isInDoubt);
}

function isSame(one, other) {
  return ["source", "destination", "amount", "asset"].every((name) => one[name] === other[name]);
}

function draftOf(body, wallets) {
  const isOwn = wallets.some((wallet) => wallet.id === body.destination);
  return {
    source: body.source,
    destination: isOwn ? body.destination : "other",
    pasted: isOwn ? "" : body.destination,
    amount: body.amount,
    reference: body.reference ?? "",
  };
}

/** The API's errors, by form field. */
function errorsOf(problem) {
  const errors = {};
  for (const { pointer, detail } of problem.errors ?? []) {
    const name = pointer.slice(1);
    if (["source", "destination", "amount", "reference"].includes(name)) {
      errors[name] = `This ${detail}.`;
    }
  }
  return errors;
}

/**
 * Ask before the same amount is sent a second time between the same wallets.
 * @param {{phase: "stopped" | "sending", canResume: boolean, onResume: () => void,
 *   onSecond: () => void, onClose: () => void}} props
 */
function DuplicateDialog({ phase, canResume, onResume, onSecond, onClose }) {
  return html`
    <${Dialog} title="Is this the same transfer?" onClose=${onClose}>
      <p>
        ${phase === "sending"
          ? "A transfer with the same wallets and the same amount is still being sent."
          : "You stopped a transfer with the same wallets and the same amount, and it may have gone through."}
        ${" "}A new transfer would move the money a second time.
      </p>
      <div class="dialog-buttons">
        ${(canResume || phase === "sending") &&
        html`<button class="button primary" onClick=${onResume}>Continue the first</button>`}
        <button class="button" onClick=${onSecond}>Send a second one</button>
        <button class="button" onClick=${onClose}>Cancel</button>
      </div>
    </>
  `;
}

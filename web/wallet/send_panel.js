/** The panel that sends: a form, then the transfer that came of it. */
import { Panel } from "../shared/panel.js";
import { Empty, Notice } from "../shared/parts.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";
import { TwinDialog } from "./twin_dialog.js";
import { TransferForm, emptyDraft } from "./transfer_form.js";
import { TransferView } from "./transfer_view.js";

/**
 * @param {object} props
 * @param {import("./outbox.js").Outbox} props.outbox
 * @param {import("../shared/polling.js").Polled} props.polled the wallets
 * @param {string | null} props.selected the wallet that is looked at
 * @param {string | null} props.shown the key of the transfer that is shown instead of the form
 * @param {(key: string | null) => void} props.onShow
 */
export function SendPanel({ outbox, polled, selected, shown, onShow }) {
  const entry = outbox.find(shown);
  const draw = (wallets) => html`
    <${Sending} outbox=${outbox} wallets=${wallets} selected=${selected} entry=${entry} onShow=${onShow} />
  `;
  // A transfer is shown, and goes on, whether or not the wallets can be read.
  return html`
    <${Panel} name="send" title=${entry ? "Transfer" : "Send"} polled=${entry ? undefined : polled}>
      ${entry ? draw(polled.data ?? []) : draw}
    </>
  `;
}

function Sending({ outbox, wallets, selected, entry, onShow }) {
  const [draft, setDraft] = useState(() => emptyDraft(selected ?? ""));
  const [twin, setTwin] = useState(null);
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
    // Two clicks can come before the form is gone: the second must find it closed.
    if (isSubmitting.current) return;
    isSubmitting.current = true;
    setTwin(null);
    onShow(outbox.submit(body));
  };
  const check = (body) => {
    const open = outbox.entries.find(
      (known) => mayGoThrough(known) && isSame(known.body, body),
    );
    if (open) setTwin({ entry: open, body });
    else send(body);
  };
  const startAnew = () => {
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
      <${TransferView} entry=${entry} outbox=${outbox} wallets=${wallets} onNew=${startAnew} onCorrect=${correct} />
    `;
  }
  const usable = wallets.filter((wallet) => wallet.status === "active" && wallet.kind !== "transit");
  if (!usable.length) return html`<${Empty} title="Nothing to send from">Make a wallet first.</>`;
  if (!outbox.hasRoom) {
    return html`<${Notice} kind="warning" title="Too many transfers are under way">Wait until some have ended.</>`;
  }
  return html`
    <${TransferForm} draft=${draft} onDraft=${setDraft} wallets=${usable} refused=${refused} takesFocus=${hasShown.current} onSend=${check} />
    ${twin &&
    html`
      <${TwinDialog} onResume=${() => {
        outbox.resume(twin.entry.key);
        onShow(twin.entry.key);
        setTwin(null);
      }} phase=${twin.entry.phase} mayResume=${outbox.mayResume(twin.entry)} onSecond=${() => send(twin.body)} onClose=${() => setTwin(null)} />
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

/** The API's errors at the fields they are about. */
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

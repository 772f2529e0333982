/** The form that asks for an API key, and tries it before it is believed. */
import { Api } from "./api.js";
import { sentenceOf } from "./api_errors.js";
import { Notice } from "./parts.js";
import { html, useEffect, useRef, useState } from "./view.js";

const USABLE = /^[\x21-\x7e]{1,256}$/;

/**
 * @param {object} props
 * @param {(api: Api) => Promise<unknown>} props.probe
 * @param {Error | null} props.refusal why the key before this was dropped
 * @param {(key: string) => void} props.onEnter
 */
export function KeyForm({ probe, refusal, onEnter }) {
  const input = useRef(null);
  const [error, setError] = useState(null);
  const [isTrying, setTrying] = useState(false);
  useEffect(() => input.current?.focus(), []);

  const submit = async (event) => {
    event.preventDefault();
    const key = input.current.value.trim();
    if (isTrying) return;
    if (!USABLE.test(key)) {
      setError("An API key has 1 to 256 characters and no spaces.");
      input.current.focus();
      return;
    }
    setTrying(true);
    setError(null);
    try {
      await probe(new Api(key));
      onEnter(key);
    } catch (failure) {
      setError(sentenceOf(failure));
      setTrying(false);
      input.current?.focus();
    }
  };

  return html`
    <form class="form" onSubmit=${submit} noValidate>
      ${refusal &&
      !error &&
      html`
        <${Notice} kind="warning" title="The key is no longer accepted." role="status">
          It was revoked or replaced, and has been forgotten here. Enter one that is valid.
        </>
      `}
      <div class="field">
        <label for="api-key">API key</label>
        <input id="api-key" ref=${input} type="password" autocomplete="off" spellcheck=${false}
          autocapitalize="off" placeholder="tp_…" aria-describedby="api-key-hint api-key-error"
          aria-invalid=${error ? "true" : undefined} />
        <p class="field-error" id="api-key-error" role="alert">${error}</p>
        <p class="hint" id="api-key-hint">
          Kept in this tab until you close it, sent to this server only. <code>make up</code> prints
          a demo key.
        </p>
      </div>
      <button class="button primary wide" type="submit" aria-disabled=${isTrying}>
        ${isTrying ? "Checking…" : "Continue"}
      </button>
    </form>
  `;
}

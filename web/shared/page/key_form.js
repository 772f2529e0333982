/** Form for the API key. Checks the key with the API before the page uses it. */
import { Api } from "../api/client.js";
import { errorMessage } from "../api/errors.js";
import { Notice } from "../parts.js";
import { html, useEffect, useRef, useState } from "../view.js";

const USABLE = /^[\x21-\x7e]{1,256}$/;

/**
 * @param {object} props
 * @param {(api: Api) => Promise<unknown>} props.checkKey
 * @param {Error | null} props.refusal why the previous key was dropped
 * @param {(key: string) => void} props.onEnter
 */
export function KeyForm({ checkKey, refusal, onEnter }) {
  const input = useRef(null);
  const [error, setError] = useState(null);
  const [isChecking, setChecking] = useState(false);
  useEffect(() => input.current?.focus(), []);

  const submit = async (event) => {
    event.preventDefault();
    const key = input.current.value.trim();
    if (isChecking) return;
    if (!USABLE.test(key)) {
      setError("An API key has 1 to 256 characters and no spaces.");
      input.current.focus();
      return;
    }
    setChecking(true);
    setError(null);
    try {
      await checkKey(new Api(key));
      onEnter(key);
    } catch (failure) {
      setError(errorMessage(failure));
      setChecking(false);
      input.current?.focus();
    }
  };

  return html`
    <form class="form" onSubmit=${submit} noValidate>
      ${refusal &&
      !error &&
      html`
        <${Notice} kind="warning" title="The API key is no longer accepted." role="status">
          It was revoked or replaced, and this page has deleted it. Enter a valid key.
        </>
      `}
      <div class="field">
        <label for="api-key">API key</label>
        <input id="api-key" ref=${input} type="password" autocomplete="off" spellcheck=${false}
          autocapitalize="off" placeholder="tp_…" aria-describedby="api-key-hint api-key-error"
          aria-invalid=${error ? "true" : undefined} />
        <p class="field-error" id="api-key-error" role="alert">${error}</p>
        <p class="hint" id="api-key-hint">
          Stored in this tab until you close it, and sent to this server only.
          <code>make up</code> prints a demo key.
        </p>
      </div>
      <button class="button primary wide" type="submit" aria-disabled=${isChecking}>
        ${isChecking ? "Checking…" : "Continue"}
      </button>
    </form>
  `;
}

/** A transfer by its id: what happened to it, when, and by whom. */
import { Panel } from "../shared/panel.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";
import { Found } from "./found.js";
import { go, readId, useRoute } from "./route.js";

/** @param {{api: import("../shared/api.js").Api, isWell: boolean}} props isWell: the database is */
export function SearchPanel({ api, isWell }) {
  return html`
    <${Panel} name="search" title="Find a transfer"><${Search} api=${api} isWell=${isWell} /></>
  `;
}

function Search({ api, isWell }) {
  const id = useRoute();
  const input = useRef(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    if (id === null) return;
    input.current.value = id;
    setError(null);
  }, [id]);

  const submit = (event) => {
    event.preventDefault();
    const wanted = readId(input.current.value);
    if (wanted) go(wanted);
    else input.current.focus();
    setError(wanted ? null : "Paste a whole id, such as 01a212e5-f20a-76f8-b78e-2234350f01f8.");
  };
  const close = () => {
    go(null);
    input.current.value = "";
    input.current.focus();
  };

  return html`
    <form class="search" role="search" onSubmit=${submit} noValidate>
      <div class="field">
        <label for="transfer-id">Transfer id</label>
        <input id="transfer-id" ref=${input} class="mono-input" autocomplete="off" spellcheck=${false}
          autocapitalize="off" maxlength="64" placeholder="Paste an id" aria-describedby="transfer-id-error"
          aria-invalid=${error ? "true" : undefined} />
      </div>
      <button class="button" type="submit">Find</button>
      <p class="field-error" id="transfer-id-error" role="alert">${error}</p>
    </form>
    ${id && html`<${Found} key=${id} api=${api} id=${id} isWell=${isWell} onClose=${close} />`}
  `;
}

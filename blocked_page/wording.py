"""What the pages say, in each language; the first language is that of the whole page."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["request", "reply", "unavailable", "unchecked"]
"""Why a page is shown: a listed request was stopped before anything was sent (`request`),
a listed server or file answered (`reply`), no verdict could be given (`unavailable`), a
body cannot be looked into (`unchecked`)."""


class Said(NamedTuple):
    """One kind of page in one language; `{organisation}` stands for the operator.

    Attributes:
        heading: what happened.
        explanation: why, and what was sent and loaded.
        advice: what the user can do.
        reference: the label of the incident id, or of the code that stands in its place.
    """

    heading: str
    explanation: str
    advice: str
    reference: str


class Language(NamedTuple):
    """One language.

    Attributes:
        code: as HTML's `lang` has it (BCP 47).
        name: the language's name in itself.
        organisation: in place of `[squid_conf] organisation` where that is empty.
        contact: in place of `[squid_conf] contact` where that is empty.
        address: label of the address that was asked for.
        time: label of the time.
        questions: label of whom to ask.
        said: by kind of page.
    """

    code: str
    name: str
    organisation: str
    contact: str
    address: str
    time: str
    questions: str
    said: dict[Kind, Said]


LANGUAGES: Final = (
    Language(
        code="en",
        name="English",
        organisation="Your organisation",
        contact="your help desk",
        address="Address",
        time="Time",
        questions="Questions",
        said={
            "request": Said(
                "This address is blocked",
                "{organisation} does not let this request through, because the address, or the "
                "program that asks for it, is known to be dangerous. Nothing was sent to it and "
                "nothing was loaded from it.",
                "If you think that this is a mistake, or if you have just opened a message or a "
                "file that led here, please tell them the incident above.",
                "Incident",
            ),
            "reply": Said(
                "The answer from this address is blocked",
                "{organisation} does not let this answer through, because the server or the file "
                "is known to be dangerous. Your request has reached the server, with everything "
                "that was sent with it, such as a form or a file. The answer was kept back.",
                "If you have just entered a password or sent something, or if you think that "
                "this is a mistake, please tell them the incident above.",
                "Incident",
            ),
            "unavailable": Said(
                "This address could not be checked",
                "{organisation} lets only checked requests through, and the check is not "
                "available at the moment. This does not mean that the address is dangerous.",
                "Please try again in a few minutes. If it goes on, please tell them the time and "
                "the reference above.",
                "Reference",
            ),
            "unchecked": Said(
                "This file could not be checked",
                "{organisation} lets no file through that cannot be checked, for instance because "
                "it is too long or only a part of a file. This does not mean that it is "
                "dangerous.",
                "If you need this file, please tell them the address and the reference above.",
                "Reference",
            ),
        },
    ),
    Language(
        code="fr",
        name="Français",
        organisation="Votre organisation",
        contact="votre service d’assistance",  # noqa: RUF001 (French)
        address="Adresse",
        time="Heure",
        questions="Questions",
        said={
            "request": Said(
                "Cette adresse est bloquée",
                "{organisation} ne laisse pas passer cette requête, car l’adresse, ou le "  # noqa: RUF001
                "programme qui la demande, est connu pour être dangereux. Rien ne lui a été "
                "envoyé et rien n’en a été chargé.",  # noqa: RUF001
                "Si vous pensez qu’il s’agit d’une erreur, ou si vous venez d’ouvrir un message "  # noqa: RUF001
                "ou un fichier qui a mené ici, veuillez leur indiquer l’incident ci-dessus.",  # noqa: RUF001
                "Incident",
            ),
            "reply": Said(
                "La réponse de cette adresse est bloquée",
                "{organisation} ne laisse pas passer cette réponse, car le serveur ou le fichier "
                "est connu pour être dangereux. Votre requête est arrivée au serveur, avec tout "
                "ce qui a été envoyé avec elle, par exemple un formulaire ou un fichier. La "
                "réponse a été retenue.",
                "Si vous venez de saisir un mot de passe ou d’envoyer quelque chose, ou si vous "  # noqa: RUF001
                "pensez qu’il s’agit d’une erreur, veuillez leur indiquer l’incident ci-dessus.",  # noqa: RUF001
                "Incident",
            ),
            "unavailable": Said(
                "Cette adresse n’a pas pu être vérifiée",  # noqa: RUF001
                "{organisation} ne laisse passer que les requêtes vérifiées, et la vérification "
                "n’est pas disponible en ce moment. Cela ne veut pas dire que l’adresse est "  # noqa: RUF001
                "dangereuse.",
                "Veuillez réessayer dans quelques minutes. Si cela persiste, veuillez leur "
                "indiquer l’heure et la référence ci-dessus.",  # noqa: RUF001
                "Référence",
            ),
            "unchecked": Said(
                "Ce fichier n’a pas pu être vérifié",  # noqa: RUF001
                "{organisation} ne laisse passer aucun fichier qui ne peut pas être vérifié, par "
                "exemple parce qu’il est trop long ou incomplet. Cela ne veut pas dire qu’il est "  # noqa: RUF001
                "dangereux.",
                "Si vous avez besoin de ce fichier, veuillez leur indiquer l’adresse et la "  # noqa: RUF001
                "référence ci-dessus.",
                "Référence",
            ),
        },
    ),
    Language(
        code="de",
        name="Deutsch",
        organisation="Ihre Organisation",
        contact="Ihre IT-Abteilung",
        address="Adresse",
        time="Zeit",
        questions="Fragen",
        said={
            "request": Said(
                "Diese Adresse ist gesperrt",
                "{organisation} lässt diese Anfrage nicht durch, weil die Adresse oder das "
                "Programm, das sie anfordert, als gefährlich bekannt ist. Es wurde nichts "
                "dorthin gesendet und nichts von dort geladen.",
                "Wenn Sie das für einen Irrtum halten oder gerade eine Nachricht oder Datei "
                "geöffnet haben, die hierher führte, nennen Sie dort bitte den Vorfall oben.",
                "Vorfall",
            ),
            "reply": Said(
                "Die Antwort dieser Adresse ist gesperrt",
                "{organisation} lässt diese Antwort nicht durch, weil der Server oder die Datei "
                "als gefährlich bekannt ist. Ihre Anfrage hat den Server erreicht, mit allem, "
                "was mit ihr gesendet wurde, etwa einem Formular oder einer Datei. Die Antwort "
                "wurde zurückgehalten.",
                "Wenn Sie gerade ein Kennwort eingegeben oder etwas gesendet haben oder dies für "
                "einen Irrtum halten, nennen Sie dort bitte den Vorfall oben.",
                "Vorfall",
            ),
            "unavailable": Said(
                "Diese Adresse konnte nicht geprüft werden",
                "{organisation} lässt nur geprüfte Anfragen durch, und die Prüfung ist im Moment "
                "nicht verfügbar. Das heißt nicht, dass die Adresse gefährlich ist.",
                "Bitte versuchen Sie es in einigen Minuten noch einmal. Wenn es so bleibt, "
                "nennen Sie dort bitte die Zeit und die Kennung oben.",
                "Kennung",
            ),
            "unchecked": Said(
                "Diese Datei konnte nicht geprüft werden",
                "{organisation} lässt keine Datei durch, die nicht geprüft werden kann, etwa weil "
                "sie zu lang oder nur ein Teil einer Datei ist. Das heißt nicht, dass sie "
                "gefährlich ist.",
                "Wenn Sie diese Datei brauchen, nennen Sie dort bitte die Adresse und die Kennung "
                "oben.",
                "Kennung",
            ),
        },
    ),
)

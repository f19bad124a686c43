"""Stories made from plots. The few megabytes of real stories teach a small model their sentences, but not how one thing leads to the
next; here it always does: what is lost is looked for, and found where the story says.

A story begins with the opening of a real one where that names a hero, so that a real opening leads into a plot. A plot is a list of
beats, a beat is a choice of sentences, "|" between them; a beat of "/" begins a new line.
"""

import re
from dataclasses import dataclass

from .names import Maker

ANIMALS = "cat dog bird bunny frog fish bear rabbit monkey duck lion elephant zebra mouse cow otter bee kitten squirrel horse deer parrot sheep goat snail fox owl pig puppy turtle".split()
GIRLS = "Lily Anna Sue Mia Lucy Sara Emma Ella Nina Zoe Clara Rosa Ida Molly Jane".split()
BOYS = "Tim Tom Ben Max Sam Jack Leo Mark Peter Hugo Oscar Felix Bob Joe Otto".split()
SOMEONE = re.compile(rf"\b(boy|girl|{'|'.join(ANIMALS)}) (?:named|called) ([A-Z][a-z]+)\b")
SOME_ANIMAL = re.compile(rf"\b(?:was|lived) an? (?:[a-z]+,? ){{0,2}}({'|'.join(ANIMALS)})\.$")
TWO = re.compile(r"^([A-Z][a-z]+) and ([A-Z][a-z]+) (?:are|were|liked|like|loved|love)\b")

SLOTS = {
    "toy": "ball|kite|doll|toy car|teddy bear|red balloon|toy boat|drum|hat|ring|scarf|book",
    "size": "big|little|shiny|pretty|soft|old|new",
    "color": "red|blue|green|yellow|pink|white|brown|purple",
    "place": "park|garden|yard|forest|field|meadow",
    "under": "under the bed|behind the chair|in the tall grass|under a bush|behind a big tree|next to the pond|under the table|in a box",
    "food": "cake|apple|sandwich|cookie|carrot|pie|banana|bun",
    "adult": "mom|dad|grandma|grandpa|aunt|uncle",
    "helper": "bird|cat|dog|squirrel|rabbit|duck|mouse|owl|fox|frog",
    "fragile": "vase|cup|lamp|bowl|plate|mirror",
    "wild": "deer|owl|bear|fox|rabbit|squirrel",
    "noise": "Tap, tap, tap|Scratch, scratch|Bump, bump|Knock, knock",
    "flower": "flower|rose|sunflower|tulip|tree|pumpkin",
    "skill": "swim|ride a bike|skate|climb|jump rope|whistle|fly a kite|dance",
    "weather": "rain|snow|wind|storm",
    "day": "One day|One morning|One sunny day|One afternoon|The next day",
}

LATER = ["The next day", "A little later", "After a while", "Some days later"]  # where the opening has said "One day" already

BEGIN = [
    "Once upon a time, there was a {size0} {kind} named {Hero}.", "Once upon a time, there was a {kind} called {Hero}.", "One day, a {kind} named {Hero} went for a walk.",
    "Once there was a {size0} {kind} named {Hero}.", "There was once a {kind} named {Hero}, who was very {mood}.",
]

PLOTS = {
    "lost": """
{Hero} had a {size} {toy}.|{Hero} loved {his} {size} {toy} very much.|{Hero} liked to play with {his} {toy} all day.
{He} took it to the {place} every day.|It was {his} favorite thing in the world.|{His} {adult} had given it to {him}.
/
{day}, the {toy} was gone.|{day}, {hero} could not find the {toy}.
{Hero} was very sad.|{He} began to cry.|"Oh no! Where is my {toy}?" {he} said.
{He} looked in the house, but it was not there.|{He} looked everywhere, but {he} did not see it.
{He} asked {his} {adult}, "Did you see my {toy}?"|Then {he} met {friend} and told {friendhim} about the {toy}.
{Friend} said, "Do not cry. I will help you look."|"I will help you find it," said {friend}.
/
They looked and looked.|They walked through the {place} together.
At last, {friend} saw something {under}.|Then {friend} looked {under}.
It was the {toy}!|"Look! Here is your {toy}!" said {friend}.
{Hero} was so happy. "Thank you, {Friend}!" {he} said.|{Hero} smiled and hugged {friend}. "Thank you for your help!" {he} said.
From that day on, {hero} always put the {toy} in a safe place.|Then they played with the {toy} until the sun went down.|After that, {hero} and {friend} were best friends.
""",
    "sharing": """
{day}, {hero} had a {size} {food}.|{day}, {his} {adult} gave {hero} a {food}.
{He} sat down in the {place} to eat it.|{He} was hungry and wanted to eat it all.
/
Then {he} saw {friend}.|Then {friend} came and sat down next to {him}.
{Friend} looked sad.|{Friend} looked at the {food}.
"What is wrong?" asked {hero}.|"Why are you sad?" {hero} asked.
"I am hungry, and I have no food," said {friend}.|"I did not eat today," said {friend}.
{Hero} looked at the {food}. {He} wanted it, but {he} was kind.|{Hero} thought for a moment.
{He} cut the {food} into two parts and gave one part to {friend}.|"You can have half of my {food}," said {hero}.
{Friend} was very happy. "Thank you! You are so kind," {friendhe} said.|"Thank you, {Hero}!" said {friend}, and {friendhe} ate it all.
/
The next day, it was {hero} who had no food.|A few days later, {hero} was hungry, and there was no food.
{Friend} came with a {size} {food} and gave half of it to {hero}.|But {friend} did not forget. {Friendhe} brought {hero} a {food}.
{Hero} learned that it is good to share.|They ate together and laughed.|After that day, they always shared what they had.
""",
    "stuck": """
{Hero} loved to play with {his} {color} kite.|{Hero} had a new {color} ball.|{Hero} had a {color} balloon.
{day}, {he} took it to the {place}.|{day}, {he} played with it in the {place}.
/
The wind blew, and it flew up, up, up.|Suddenly, it went up high into the air.
It got stuck in a tall tree.|Then it was stuck in the top of a tree.
{Hero} jumped, but {he} could not reach it.|{Hero} tried to climb the tree, but it was too tall.
{He} threw a stick, but that did not help.|{He} sat down under the tree and was sad.
/
Then {friend} came by. "Why are you sad?" asked {friend}.|{Friend} saw {him} and asked, "What is wrong?"
"It is stuck in the tree, and I cannot get it down," said {hero}.|{Hero} pointed at the tree and said, "I cannot reach it."
"I have an idea," said {friend}.|"Wait here," said {friend}. "I know what to do."
{Friend} brought a long ladder, and {hero} held it.|They got a ladder and put it next to the tree.
{Friend} went up and brought it down.|Then {friend} went up, step by step, and got it.
{Hero} clapped and said, "Thank you!"|"You did it! Thank you, {Friend}!" said {hero}.
They played together all day.|From then on, they played far away from the tall trees.|{Hero} learned that it is good to ask for help.
""",
    "dark": """
{Hero} was afraid of the dark.|At night, {hero} was often afraid.
One night, {he} heard a noise. "{noise}!"|One night, there was a sound at the window. "{noise}!"
/
{Hero} hid under the blanket.|{Hero} was scared and closed {his} eyes.
"Who is there?" {he} asked, but nobody said a word.|{He} called {his} {adult}.
The sound came again. "{noise}!"|Then {he} heard it again. "{noise}!"
{Hero} wanted to be brave.|"I will be brave," said {hero}.
{He} took a small light and went to the window.|{He} got up and walked to the window, one step after the other.
/
Outside sat a little {helper}. It was wet and cold.|There was no monster. It was only a little {helper}.
"Oh, it is only you!" said {hero}.|{Hero} laughed. "You are not a monster!" {he} said.
{He} let the {helper} in and gave it some food.|{He} opened the window and gave the {helper} a warm blanket.
The {helper} slept next to {him} all night.|The {helper} was happy and went to sleep.
After that, {hero} was not afraid of the dark any more.|{Hero} learned that things are not so scary when you look at them.
""",
    "broken": """
{His} {adult} had a pretty {color} {fragile}.|In the house, there was a {color} {fragile}. It belonged to {his} {adult}.
"Do not touch it," {his} {adult} said. "It can break."|{His} {adult} always said, "Please be careful with it."
/
{day}, {hero} was alone in the room.|{day}, {hero} played in the house.
{He} wanted to look at the {fragile}.|{He} saw the {fragile} and wanted to hold it.
{He} took it in {his} hands, but it was too heavy.|{He} ran too fast and bumped into the table.
Crash! The {fragile} fell down and broke.|The {fragile} fell on the floor. It was broken!
{Hero} was scared. {He} wanted to hide.|"Oh no! What have I done?" said {hero}.
/
Then {his} {adult} came in and saw it.|{His} {adult} heard the noise and came.
{Hero} said, "I am sorry. I broke the {fragile}."|"I did it," said {hero}. "I am very sorry."
"Thank you for telling me the truth," said {his} {adult}.|{His} {adult} was sad, but not angry. "It is good that you told me," the {adult} said.
They picked up the pieces and fixed the {fragile} with glue.|Together they cleaned the floor.
{Hero} learned to listen and to tell the truth.|From then on, {hero} was more careful.
""",
    "forest": """
{day}, {hero} went into the forest.|{day}, {hero} followed a butterfly into the forest.
{He} saw {color} flowers and tall trees.|It was so pretty there that {he} walked on and on.
/
Soon, {he} did not know the way home.|When {he} wanted to go home, {he} was lost.
It was getting dark, and {he} was scared.|{He} turned left and right, but all the trees looked the same.
"Help! I am lost!" {he} called.|{He} sat down on a stone and cried.
/
A {wild} heard {him} and came out of the trees.|Then a {wild} came.
"Why do you cry?" asked the {wild}.|"Hello," said the {wild}. "Are you lost?"
"I cannot find my home," said {hero}.|"I want to go home to my {adult}," said {hero}.
"Come with me. I know the way," said the {wild}.|The {wild} said, "Do not be afraid. I will show you the way."
They went over a bridge and along the river.|The {wild} went first, and {hero} went after it.
/
Then {hero} saw {his} house.|At last, they came out of the forest, and there was the house.
{His} {adult} ran to {him} and hugged {him}.|{His} {adult} was so happy to see {him}.
"Thank you, {wild}!" said {hero}, and the {wild} went back into the forest.|{Hero} waved to the {wild} and said, "Thank you!"
{Hero} never went into the forest alone again.|After that, {hero} always told {his} {adult} where {he} went.
""",
    "hurt bird": """
{day}, {hero} found a little bird in the {place}.|{day}, {hero} saw a little bird on the ground.
The bird could not fly. Its wing was hurt.|Its wing was hurt, and it could not fly.
/
"Poor bird," said {hero}. "I will help you."|{Hero} felt sorry for the bird.
{He} took it home and showed it to {his} {adult}.|{He} carried it home very carefully.
They made a small bed out of a box.|{His} {adult} put the bird in a warm box.
Every day, {hero} gave it water and food.|{Hero} gave the bird food every morning.
/
After some days, the wing was better.|Soon the bird was strong again.
{Hero} opened the window, and the bird flew up into the sky.|They took the bird outside, and it flew away.
{Hero} was happy, but also a little sad.|"Goodbye, little bird!" said {hero}.
The next morning, there was a song at the window.|But one morning, {hero} heard a song.
The bird had come back to say thank you.|It was the bird! It sang for {him}.
From that day on, the bird came every morning and sang for {hero}.|{Hero} and the bird were friends from then on.
""",
    "race": """
{day}, {hero} met {friend} in the {place}.|{Hero} and {friend} met in the {place}.
"I am faster than you," said {friend}.|{Friend} said, "I can run faster than anyone!"
"Let us race to the {size} tree," said {hero}.|{Hero} said, "Then let us have a race."
/
They ran as fast as they could.|One, two, three! They began to run.
{Friend} was fast and laughed at {hero}.|{Friend} was first, and {hero} was far behind.
But {friend} did not look at the ground and fell over a stone.|Then {friend} fell down and hurt {friendhis} leg.
"Ouch!" cried {friend}. "My leg hurts!"|{Friend} began to cry.
/
{Hero} could win now. But {he} stopped.|{Hero} saw it and stopped running.
"Are you hurt? I will help you," {he} said.|{He} went to {friend} and held out {his} hand.
{He} helped {friend} get up, and they walked to the tree together.|They walked to the tree side by side.
"Thank you," said {friend}. "I am sorry that I laughed at you."|{Friend} said, "You are a good friend. I am sorry that I was not nice."
"We both won," said {hero}, and they laughed.|{Hero} learned that it is better to be kind than to be first.
""",
    "seed": """
{day}, {his} {adult} gave {hero} a little seed.|{day}, {hero} found a little seed in the {place}.
"What is it?" asked {hero}. "Put it into the ground and wait," said {his} {adult}.|{He} wanted to know what would grow out of it.
/
{Hero} made a hole in the garden and put the seed into it.|{Hero} put the seed into a pot with earth.
Every day, {he} gave it water.|{He} watered it every morning.
But nothing came up.|{He} looked and looked, but there was nothing to see.
"It does not grow," said {hero}. {He} was sad.|{Hero} did not want to wait any more.
"You have to wait a little longer," said {his} {adult}.|{His} {adult} said, "Good things take time."
/
Then one morning, there was something green.|After many days, a small green leaf came up.
It grew and grew.|It got bigger every day.
At last, it was a big {color} {flower}.|In the summer, it was the most beautiful {flower} in the garden.
{Hero} danced around it and was proud.|"Look what I have grown!" said {hero}.
{He} learned that it is good to wait.|{He} gave it to {his} {adult} and said, "Thank you for the seed."
""",
    "shy friend": """
{day}, {hero} went to the {place} to play.|{day}, {hero} was playing in the {place}.
{He} saw {friend}, who sat there all alone.|There was {friend}, who was new and had no friends.
/
{Hero} went to {friendhim} and said, "Hello! Do you want to play?"|"Hi, I am {Hero}. What is your name?" {he} asked.
{Friend} was shy and did not say a word.|{Friend} looked at the ground.
{Hero} did not go away. {He} sat down next to {friendhim}.|{Hero} thought, "Maybe I can make {friendhim} smile."
{He} showed {friendhim} {his} {color} {toy}.|{He} gave {friendhim} {his} {toy} to hold.
/
Then {friend} smiled. "That is a nice {toy}," {friendhe} said.|{Friend} took the {toy} and smiled a little.
"We can play with it together," said {hero}.|"Do you want to play with me?" {hero} asked again.
"Yes, please!" said {friend}.|{Friend} said, "Yes, I would love to."
They ran, they jumped, and they laughed.|They played with the {toy} all afternoon.
When it was time to go home, {friend} said, "Thank you. Now I have a friend."|"Will you come back tomorrow?" asked {friend}. "Yes, I will," said {hero}.
From then on, they met in the {place} every day.|And they were friends for a long, long time.
""",
    "cake": """
It was the birthday of {his} {adult}.|Tomorrow was a big day. It was the birthday of {his} {adult}.
{Hero} wanted to bake a cake.|"I will make a cake," said {hero}.
/
{He} took flour, eggs, and milk.|{He} put flour and eggs into a big bowl.
But there was no sugar in the house!|Then {he} saw that there was no sugar.
{Hero} was sad. "I cannot make a cake without sugar," {he} said.|"What can I do now?" said {hero}.
{He} went to {friend} and asked, "Do you have some sugar?"|So {he} ran to {friend} and asked for some sugar.
"Yes, I have. But may I help you?" said {friend}.|{Friend} said, "Here it is. Can I bake with you?"
/
They baked the cake together, and it smelled so good.|{Hero} and {friend} stirred and stirred, and put the cake into the oven.
They put {color} berries on top.|On top, they wrote, "Happy birthday!"
When {his} {adult} came home, they called, "Surprise!"|Then the door opened. "Surprise!" they shouted.
"What a beautiful cake! Thank you," said {his} {adult}.|{His} {adult} was very happy and hugged them both.
They ate the cake together, and it was the best day of all.|They all sat down and ate the cake. It was sweet and good.
""",
    "key": """
{day}, {hero} found a small key in the {place}.|{day}, {hero} saw something shiny in the grass. It was a key.
"What does it open?" {he} asked.|{He} wanted to know what it was for.
/
{He} tried the door of the house, but it did not fit.|First, {he} tried it on the gate, but the key was too small.
{He} tried a box, but it did not fit.|Then {he} tried it on a box, but it was too big.
Then {he} met {friend}, who was looking for something.|Then {friend} came. {Friendhe} looked worried.
"What are you looking for?" asked {hero}.|"Did you lose something?" asked {hero}.
"I lost my key," said {friend}. "Now I cannot open my {color} box."|{Friend} said, "Yes, my key. Without it, I cannot open my {color} box."
/
{Hero} held up the key. "Is this your key?" {he} asked.|"I found a key!" said {hero} and gave it to {friend}.
"Yes, it is! Thank you!" said {friend}.|{Friend} jumped with joy. "That is my key!" {friendhe} said.
They went to the box and opened it.|Together they opened the {color} box.
It was full of sweets, and {friend} gave some to {hero}.|Inside was a {size} {toy}, and they played with it together.
{Hero} was glad that {he} gave the key back.|{Hero} learned that it feels good to give back what you find.
""",
    "rain": """
{day}, {hero} and {friend} wanted to have a picnic.|{Hero} and {friend} wanted to go to the {place} for a picnic.
They packed a {food} and some milk.|They put a {food} and a blanket into a basket.
/
But when they sat down, the sky got dark.|But then, big gray clouds came.
Drip, drop! It began to rain.|Soon it began to rain.
"Oh no! Our picnic!" said {hero}.|{Hero} was sad. "Now we cannot have our picnic," {he} said.
They ran home as fast as they could, and they were all wet.|They took the basket and ran to the house.
/
"I have an idea," said {friend}. "We can have our picnic inside!"|Then {friend} smiled and said, "We do not need the sun for a picnic."
They put the blanket on the floor.|They made a tent out of a blanket and two chairs.
They sat down and ate the {food}.|Then they ate the {food} and told stories.
Outside, the rain fell, but inside it was warm.|They listened to the rain and laughed.
"This is the best picnic ever," said {hero}.|{Hero} said, "I like the rain now."
""",
    "fight": """
{day}, {hero} and {friend} found a {color} {toy} in the {place}.|{Hero} and {friend} were playing with a {color} {toy}.
"It is mine!" said {hero}. "No, it is mine!" said {friend}.|They both wanted to have it.
/
{Hero} pulled, and {friend} pulled.|They pulled and pulled.
Then there was a loud sound. The {toy} was broken!|Snap! The {toy} broke into two parts.
They looked at it and began to cry.|Now nobody could play with it, and they were both sad.
/
"I am sorry," said {hero}. "I wanted it all for me."|{Hero} said, "I am sorry that I pulled so hard."
"I am sorry, too," said {friend}.|{Friend} said, "I am sorry, too. We should share."
They took the {toy} to {his} {adult}.|They went to {his} {adult} and asked for help.
{Cap_adult} fixed it with some glue and said, "You can take turns."|With some glue, they made it as good as new.
First, {hero} played with it, and then it was {friend}'s turn.|Then they took turns, and nobody was sad.
They learned that sharing is more fun than fighting.|After that, they always shared their toys.
""",
    "learning": """
{Hero} wanted to learn to {skill}.|More than anything, {hero} wanted to {skill}.
But it was hard.|But {he} did not know how.
/
{day}, {he} tried it for the first time, and {he} fell down.|{day}, {he} tried, but it did not work.
"I cannot do it," said {hero}.|{Hero} was sad and wanted to stop.
{Friend} saw {him} and said, "You have to try again."|Then {friend} came and said, "I could not do it at first, too."
"Can you show me?" asked {hero}.|"Will you help me?" {hero} asked.
/
{Friend} showed {him} how to do it, slowly, step by step.|So {friend} helped {him} every day.
{Hero} tried again and again.|{He} tried again the next day, and the day after.
Then, one day, it worked!|And at last, {he} could do it!
"Look! I can {skill}!" {he} shouted.|"I did it!" said {hero}, and {he} laughed.
{Friend} clapped and was proud of {him}.|{His} {adult} came to see it and was very proud.
{Hero} learned to never give up.|{Hero} knew now that you can learn everything if you try.
""",
    "snowman": """
One winter day, there was snow everywhere.|It was cold, and snow fell on the {place}.
{Hero} and {friend} made a big snowman.|{Hero} went out with {friend} to make a snowman.
/
They gave him a carrot for a nose and a {color} hat.|He had two black eyes and a {color} scarf.
"He looks like a king," said {hero}.|"He is our friend now," said {hero}.
They played around him all day.|They danced around the snowman until it was dark.
/
The next morning, the sun was warm.|But then the sun came out, and it got warm.
The snowman got smaller and smaller.|Drip, drip, drip! The snowman began to melt.
"Please do not go!" said {hero}.|{Hero} was sad. "Our snowman is going away," {he} said.
Soon there was only the hat and some water.|In the end, there was only a carrot in the grass.
/
"Do not be sad," said {friend}. "He will come back with the snow."|{Friend} said, "Next winter, we will make a new one."
{Hero} took the carrot and gave it to a {wild}.|{Hero} smiled and kept the {color} hat in a box.
And when the snow came again, they made an even bigger snowman.|They waited for the winter, and the snowman came back.
""",
}
# Those in which both of a pair have a part; "friend" is then the second.
FOR_TWO = ["sharing", "race", "rain", "fight", "snowman", "learning", "lost", "stuck", "cake"]


@dataclass
class Someone:
    name: str
    he: str

    def words(self, role: str = "") -> dict[str, str]:
        """The words that stand for this one in a plot: {hero}, {Hero}, {he}, {his}, ... or, with a role, {friend}, {friendhe}, ..."""
        his, him = ("her", "her") if self.he == "she" else ("his", "him")
        words = {role or "hero": self.name, f"{role}he": self.he, f"{role}his": his, f"{role}him": him}
        return words | {w[0].upper() + w[1:]: v[0].upper() + v[1:] for w, v in words.items()}


def pronoun(kind: str, story: str) -> str:
    """A girl is a she; for an animal, what the real story says."""
    if kind in ("boy", "girl"):
        return {"boy": "he", "girl": "she"}[kind]
    text = f" {story.lower()} "
    return "she" if text.count(" she ") > text.count(" he ") else "he"


def friend(m: Maker, hero: Someone) -> Someone:
    while True:
        roll = m.random.random()
        if roll < 0.4:
            one = Someone(m.pick(GIRLS), "she")
        elif roll < 0.8:
            one = Someone(m.pick(BOYS), "he")
        else:
            one = Someone("the " + m.pick(ANIMALS), "he")
        if one.name != hero.name:
            return one


def begin(m: Maker, story: str):
    """(opening, hero, friend or None): the first sentence of this real story, or one of ours where it names nobody."""
    opening = re.split(r"(?<=[.!?]) ", story.split("\n")[0])[0]
    two, one, animal = TWO.match(opening), SOMEONE.search(opening), SOME_ANIMAL.search(opening)
    if two and len(opening) < 90:
        by_name = lambda name: Someone(name, "he" if name in BOYS or name not in GIRLS and m.chance(0.3) else "she")
        return opening, by_name(two.group(1)), by_name(two.group(2))
    if one and len(opening) < 120:
        return opening, Someone(one.group(2), pronoun(one.group(1), story)), None
    if animal and len(opening) < 120:
        return opening, Someone("the " + animal.group(1), pronoun(animal.group(1), story)), None
    kind = m.pick(["girl", "boy", m.pick(ANIMALS)])
    name = m.pick(GIRLS if kind == "girl" else BOYS) if m.chance(0.7) else m.first_name()
    size, mood = m.pick("little small young kind happy clever brave".split()), m.pick("kind curious happy brave clever".split())
    return m.pick(BEGIN).format(size0=size, kind=kind, Hero=name, mood=mood), Someone(name, "she" if kind == "girl" else "he"), None


def story(m: Maker, real: str) -> str:
    """A whole story that begins as this real one does."""
    opening, hero, second = begin(m, real)
    name = m.pick(FOR_TWO if second else list(PLOTS))
    words = {k: m.pick(v.split("|")) for k, v in SLOTS.items()} | hero.words() | (second or friend(m, hero)).words("friend")
    if opening.startswith("One "):
        words["day"] = m.pick(LATER)
    words["Cap_adult"] = words["his"].capitalize() + " " + words["adult"]
    lines = [[opening]]
    for beat in PLOTS[name].strip().split("\n"):
        if beat == "/":
            lines.append([])
        else:
            lines[-1].append(m.pick(beat.split("|")).format(**words))
    text = "\n".join(" ".join(line) for line in lines)
    # "a apple" -> "an apple"
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)

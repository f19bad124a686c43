"""Real names. The hash in `names.py` decides which of them training may see."""

# City and IANA zone.
_ZONES = """
Europe/ Oslo Paris Berlin Madrid Rome Vienna Prague Warsaw Athens Dublin Lisbon Helsinki Stockholm Copenhagen Brussels
Europe/ Amsterdam Budapest Bucharest Sofia Belgrade Zagreb Riga Vilnius Tallinn Kyiv Moscow Istanbul London Zurich Luxembourg Monaco Malta
Asia/ Tokyo Seoul Shanghai Singapore Bangkok Jakarta Manila Dubai Baghdad Tehran Kabul Karachi Dhaka Kathmandu Colombo Riyadh
Asia/ Taipei Hong_Kong Beirut Damascus Jerusalem Amman Baku Yerevan Tbilisi Tashkent Almaty Macau Brunei Vientiane Makassar Kolkata
Africa/ Cairo Lagos Nairobi Accra Dakar Tunis Algiers Casablanca Johannesburg Harare Lusaka Kampala Kinshasa Tripoli Khartoum Maputo
Australia/ Sydney Melbourne Perth Brisbane Adelaide Darwin Hobart
America/ New_York Chicago Denver Los_Angeles Toronto Vancouver Montreal Halifax Bogota Lima Caracas Santiago Havana Panama Phoenix Detroit
America/ Guatemala Managua Asuncion Montevideo Jamaica Boise Anchorage Edmonton Winnipeg Tijuana Sao_Paulo La_Paz Mexico_City
Pacific/ Auckland Honolulu Fiji Guam Tahiti Apia
"""
CITIES = [
    (name.replace("_", " "), line.split()[0] + name) for line in _ZONES.strip().splitlines() for name in line.split()[1:]
] + [
    ("San Francisco", "America/Los_Angeles"), ("Seattle", "America/Los_Angeles"), ("Boston", "America/New_York"),
    ("Miami", "America/New_York"), ("Mumbai", "Asia/Kolkata"), ("Delhi", "Asia/Kolkata"), ("Beijing", "Asia/Shanghai"),
    ("Munich", "Europe/Berlin"), ("Hamburg", "Europe/Berlin"), ("Barcelona", "Europe/Madrid"), ("Milan", "Europe/Rome"),
    ("Geneva", "Europe/Zurich"), ("Kyoto", "Asia/Tokyo"), ("Osaka", "Asia/Tokyo"), ("Edinburgh", "Europe/London"),
    ("Cape Town", "Africa/Johannesburg"), ("Houston", "America/Chicago"), ("Dallas", "America/Chicago"), ("Lyon", "Europe/Paris"),
    ("Washington", "America/New_York"), ("Rio de Janeiro", "America/Sao_Paulo"), ("Canberra", "Australia/Sydney"),
]

FIRST_NAMES = """
Ada Alan Albert Alice Amelia Anna Arthur Ben Boris Carl Carla Charles Clara Daniel David Diana Edgar Ella Emil Emma Erik Eva Felix
Fiona Frank George Grace Hanna Hans Harry Helen Henry Hugo Ida Igor Ingrid Irene Isaac Iris Ivan Jack James Jane Johan John Julia Karl
Kate Laura Leo Lily Louis Lucy Maria Marie Mark Martin Mary Max Maya Mia Mira Nadia Nikola Nina Nora Olga Oliver Omar Oscar Otto Paul
Peter Rosa Ruth Sam Sara Sofia Stefan Sue Thomas Tim Tom Vera Victor Walter Wanda William Yuri Zoe
""".split()

TOPICS = """
penguins, photosynthesis, gravity, the Moon, volcanoes, honey bees, coffee, chess, the Roman Empire, jazz, glaciers, DNA, black holes,
the violin, bread, rainbows, dolphins, whales, Antarctica, the Amazon, Jupiter, Mars, Saturn, cheese, printing, the telephone, steam engines,
bicycles, cathedrals, origami, sushi, tea, chocolate, earthquakes, magnetism, electricity, vaccines, penicillin, algebra, geometry, prime numbers,
Shakespeare, Mozart, Beethoven, Leonardo da Vinci, Isaac Newton, Marie Curie, Charles Darwin, Ada Lovelace, Alan Turing, Nikola Tesla, Cleopatra,
Julius Caesar, Napoleon, Mount Everest, the Nile, the Sahara, the Great Wall, the Eiffel Tower, the Colosseum, Stonehenge, Venice, Iceland, Norway,
Japan, Brazil, Kenya, Canada, Egypt, Peru, India, elephants, tigers, owls, butterflies, spiders, sharks, octopuses, dinosaurs, oak trees, roses,
tulips, mushrooms, rice, potatoes, tomatoes, lightning, tornadoes, clouds, tides, coral reefs, deserts, rivers, the piano, the guitar, opera, ballet,
football, tennis, marathon, the Olympics, robots, lasers, computers, satellites, rockets, telescopes, clocks, compasses, glass, steel, paper, silk, salt,
gold, silver, copper, diamonds, oxygen, helium, carbon, water, atoms, planets, comets, galaxies, neurons, the heart, bones, sleep, dreams
""".replace("\n", " ").split(",")
TOPICS = [t.strip() for t in TOPICS]

CONDITIONS = [
    "clear sky", "mainly clear", "partly cloudy", "overcast", "fog", "light drizzle", "drizzle", "light rain", "rain", "heavy rain", "rain showers",
    "light snow", "snow", "heavy snow", "snow showers", "thunderstorm", "sunny", "cloudy", "windy", "hail",
]
UNITS = [
    ("miles", "kilometers"), ("kilometers", "miles"), ("meters", "feet"), ("feet", "meters"), ("inches", "centimeters"), ("centimeters", "inches"),
    ("kilograms", "pounds"), ("pounds", "kilograms"), ("grams", "ounces"), ("ounces", "grams"), ("liters", "gallons"), ("gallons", "liters"),
    ("celsius", "fahrenheit"), ("fahrenheit", "celsius"), ("hours", "minutes"), ("minutes", "seconds"), ("days", "hours"), ("weeks", "days"),
    ("km", "mi"), ("mi", "km"), ("kg", "lb"), ("lb", "kg"), ("cm", "in"), ("in", "cm"), ("m", "ft"), ("ft", "m"), ("C", "F"), ("F", "C"),
    ("yards", "meters"), ("meters", "yards"), ("tons", "kilograms"), ("liters", "cups"), ("cups", "liters"), ("knots", "mph"), ("mph", "km/h"),
    ("km/h", "mph"), ("acres", "hectares"), ("hectares", "acres"), ("joules", "calories"), ("megabytes", "gigabytes"), ("g", "oz"), ("l", "gal"),
]
